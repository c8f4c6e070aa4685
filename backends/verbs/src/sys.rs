//! Everything that speaks to C: libibverbs and librdmacm, loaded at run time, behind owning wrappers.
//!
//! This is the only file of the crate that holds unsafe code. `rdma-sys` lends its types and its inline functions, which go
//! through a context's own table of operations; every exported function is looked up with `dlsym(3)`, so that a program
//! built with this crate starts on machines without the libraries.
//!
//! Destruction order is kept by reference counts: a queue pair holds its protection domain and completion queues, these
//! their context and channel. Events are acknowledged as soon as they are read, since one that is not blocks the destruction
//! of its object for ever (`ibv_get_async_event(3)`).
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::mem::{MaybeUninit, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::OnceLock;

use libloading::Library;
use rdma_sys::*;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use wavetank_contract::Region;

/// A library could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadError {
    /// Its file name.
    pub(crate) library: &'static str,
    /// What `dlopen(3)` or `dlsym(3)` said.
    pub(crate) why: String,
}

/// Defines a table of a library's functions, and how it is filled.
macro_rules! library {
    ($(#[$doc:meta])* $table:ident from $file:literal;
     $(fn $name:ident = $symbol:literal ($($arg:ty),*) $(-> $ret:ty)?;)*
     optional $(fn $oname:ident = $osymbol:literal ($($oarg:ty),*) $(-> $oret:ty)?;)*) => {
        $(#[$doc])*
        pub(crate) struct $table {
            $($name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)*
            $($oname: Option<unsafe extern "C" fn($($oarg),*) $(-> $oret)?>,)*
            /// Keeps the functions above where they are.
            _library: Library,
        }

        impl $table {
            fn load(file: &'static str) -> Result<$table, LoadError> {
                let fail = |e: libloading::Error| LoadError {
                    library: file,
                    // What the loader said stands behind the error.
                    why: std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string),
                };
                // SAFETY: the libraries' constructors only set up their own state; they are the system's RDMA libraries,
                // whose sonames promise the interface of `rdma-sys`.
                let library = unsafe { Library::new(file) }.map_err(fail)?;
                // SAFETY: each type below is that of the C prototype in `infiniband/verbs.h` or `rdma/rdma_cma.h`, and the
                // library that holds the function is kept beside it.
                unsafe {
                    Ok($table {
                        $($name: *library.get(concat!($symbol, "\0").as_bytes()).map_err(fail)?,)*
                        $($oname: library.get(concat!($osymbol, "\0").as_bytes()).ok().map(|s| *s),)*
                        _library: library,
                    })
                }
            }

            /// The table, loaded by the first call of this process.
            pub(crate) fn get() -> Result<&'static $table, LoadError> {
                static TABLE: OnceLock<Result<$table, LoadError>> = OnceLock::new();
                TABLE.get_or_init(|| $table::load($file)).as_ref().map_err(Clone::clone)
            }
        }

        impl fmt::Debug for $table {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($file)
            }
        }
    };
}

library! {
    /// libibverbs.
    Verbs from "libibverbs.so.1";
    fn get_device_list = "ibv_get_device_list" (*mut c_int) -> *mut *mut ibv_device;
    fn free_device_list = "ibv_free_device_list" (*mut *mut ibv_device);
    fn get_device_name = "ibv_get_device_name" (*mut ibv_device) -> *const c_char;
    fn open_device = "ibv_open_device" (*mut ibv_device) -> *mut ibv_context;
    fn close_device = "ibv_close_device" (*mut ibv_context) -> c_int;
    fn query_device = "ibv_query_device" (*mut ibv_context, *mut ibv_device_attr) -> c_int;
    // The exported function fills the beginning of `ibv_port_attr`, up to `flags` (libibverbs/verbs.c).
    fn query_port = "ibv_query_port" (*mut ibv_context, u8, *mut ibv_port_attr) -> c_int;
    fn query_gid = "ibv_query_gid" (*mut ibv_context, u8, c_int, *mut ibv_gid) -> c_int;
    fn alloc_pd = "ibv_alloc_pd" (*mut ibv_context) -> *mut ibv_pd;
    fn dealloc_pd = "ibv_dealloc_pd" (*mut ibv_pd) -> c_int;
    fn reg_mr = "ibv_reg_mr" (*mut ibv_pd, *mut c_void, usize, c_int) -> *mut ibv_mr;
    fn dereg_mr = "ibv_dereg_mr" (*mut ibv_mr) -> c_int;
    fn create_comp_channel = "ibv_create_comp_channel" (*mut ibv_context) -> *mut ibv_comp_channel;
    fn destroy_comp_channel = "ibv_destroy_comp_channel" (*mut ibv_comp_channel) -> c_int;
    fn create_cq = "ibv_create_cq"
        (*mut ibv_context, c_int, *mut c_void, *mut ibv_comp_channel, c_int) -> *mut ibv_cq;
    fn destroy_cq = "ibv_destroy_cq" (*mut ibv_cq) -> c_int;
    fn get_cq_event = "ibv_get_cq_event" (*mut ibv_comp_channel, *mut *mut ibv_cq, *mut *mut c_void) -> c_int;
    fn ack_cq_events = "ibv_ack_cq_events" (*mut ibv_cq, u32);
    fn create_srq = "ibv_create_srq" (*mut ibv_pd, *mut ibv_srq_init_attr) -> *mut ibv_srq;
    fn modify_srq = "ibv_modify_srq" (*mut ibv_srq, *mut ibv_srq_attr, c_int) -> c_int;
    fn destroy_srq = "ibv_destroy_srq" (*mut ibv_srq) -> c_int;
    fn create_qp = "ibv_create_qp" (*mut ibv_pd, *mut ibv_qp_init_attr) -> *mut ibv_qp;
    fn modify_qp = "ibv_modify_qp" (*mut ibv_qp, *mut ibv_qp_attr, c_int) -> c_int;
    fn query_qp = "ibv_query_qp" (*mut ibv_qp, *mut ibv_qp_attr, c_int, *mut ibv_qp_init_attr) -> c_int;
    fn destroy_qp = "ibv_destroy_qp" (*mut ibv_qp) -> c_int;
    fn get_async_event = "ibv_get_async_event" (*mut ibv_context, *mut ibv_async_event) -> c_int;
    fn ack_async_event = "ibv_ack_async_event" (*mut ibv_async_event);
    optional
    fn query_gid_table = "_ibv_query_gid_table"
        (*mut ibv_context, *mut ibv_gid_entry, usize, u32, usize) -> isize;
    fn query_qp_data_in_order = "ibv_query_qp_data_in_order" (*mut ibv_qp, u32, u32) -> c_int;
    fn is_fork_initialized = "ibv_is_fork_initialized" () -> u32;
}

library! {
    /// librdmacm.
    Rdmacm from "librdmacm.so.1";
    fn create_event_channel = "rdma_create_event_channel" () -> *mut rdma_event_channel;
    fn destroy_event_channel = "rdma_destroy_event_channel" (*mut rdma_event_channel);
    fn create_id = "rdma_create_id"
        (*mut rdma_event_channel, *mut *mut rdma_cm_id, *mut c_void, u32) -> c_int;
    fn destroy_id = "rdma_destroy_id" (*mut rdma_cm_id) -> c_int;
    fn bind_addr = "rdma_bind_addr" (*mut rdma_cm_id, *mut libc::sockaddr) -> c_int;
    fn listen = "rdma_listen" (*mut rdma_cm_id, c_int) -> c_int;
    fn get_src_port = "rdma_get_src_port" (*mut rdma_cm_id) -> u16;
    fn resolve_addr = "rdma_resolve_addr"
        (*mut rdma_cm_id, *mut libc::sockaddr, *mut libc::sockaddr, c_int) -> c_int;
    fn resolve_route = "rdma_resolve_route" (*mut rdma_cm_id, c_int) -> c_int;
    fn connect = "rdma_connect" (*mut rdma_cm_id, *mut rdma_conn_param) -> c_int;
    fn accept = "rdma_accept" (*mut rdma_cm_id, *mut rdma_conn_param) -> c_int;
    fn reject = "rdma_reject" (*mut rdma_cm_id, *const c_void, u8) -> c_int;
    fn get_cm_event = "rdma_get_cm_event" (*mut rdma_event_channel, *mut *mut rdma_cm_event) -> c_int;
    fn ack_cm_event = "rdma_ack_cm_event" (*mut rdma_cm_event) -> c_int;
    optional
}

/// What `errno(3)` says of the call that just failed.
fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// An answer of the kind "0 or an error number".
fn checked(answer: c_int) -> Result<(), i32> {
    match answer {
        0 => Ok(()),
        // Most calls answer the number itself, some its negative (siw's), some -1 and set errno.
        n if n > 0 => Err(n),
        -1 => Err(errno()),
        n => Err(n.saturating_neg()),
    }
}

/// Makes a descriptor of the library non-blocking.
fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), i32> {
    let flags = fcntl_getfl(fd).map_err(rustix::io::Errno::raw_os_error)?;
    fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(rustix::io::Errno::raw_os_error)
}

/// Whether children of `fork(2)` leave registered memory alone, as libibverbs sees it (`ibv_is_fork_initialized(3)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForkSafety {
    /// Nobody asked for it, and the kernel does not copy pinned pages on fork.
    Off,
    /// `ibv_fork_init` was called.
    On,
    /// The kernel copies pinned pages on fork.
    Unneeded,
    /// The library does not say.
    Unknown,
}

/// Names of the devices that libibverbs has a provider for.
pub(crate) fn device_names(verbs: &'static Verbs) -> Result<Vec<String>, i32> {
    let list = DeviceList::get(verbs)?;
    Ok(list.devices().map(|device| list.name(device)).collect())
}

/// What libibverbs says of fork.
pub(crate) fn fork_safety(verbs: &'static Verbs) -> ForkSafety {
    // SAFETY: takes nothing and only reads the library's own state.
    match verbs.is_fork_initialized.map(|ask| unsafe { ask() }) {
        Some(0) => ForkSafety::Off,
        Some(1) => ForkSafety::On,
        Some(2) => ForkSafety::Unneeded,
        _ => ForkSafety::Unknown,
    }
}

struct DeviceList {
    verbs: &'static Verbs,
    list: NonNull<*mut ibv_device>,
    len: usize,
}

impl DeviceList {
    fn get(verbs: &'static Verbs) -> Result<DeviceList, i32> {
        let mut count = 0;
        // SAFETY: `count` lives across the call.
        let list = NonNull::new(unsafe { (verbs.get_device_list)(&mut count) }).ok_or_else(errno)?;
        Ok(DeviceList { verbs, list, len: usize::try_from(count).unwrap_or(0) })
    }

    fn devices(&self) -> impl Iterator<Item = *mut ibv_device> + '_ {
        // SAFETY: the library counted this many entries in its array, which is freed in `drop`.
        (0..self.len).map(|i| unsafe { *self.list.as_ptr().add(i) })
    }

    fn name(&self, device: *mut ibv_device) -> String {
        // SAFETY: `device` is of this list, and its name is a C string inside it.
        unsafe { CStr::from_ptr((self.verbs.get_device_name)(device)) }.to_string_lossy().into_owned()
    }
}

impl Drop for DeviceList {
    fn drop(&mut self) {
        // SAFETY: `list` came from `ibv_get_device_list` and is freed once; contexts keep their own reference.
        unsafe { (self.verbs.free_device_list)(self.list.as_ptr()) }
    }
}

/// What a device says of itself, as far as we ask (`ibv_query_device(3)`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceInfo {
    pub(crate) vendor_id: u32,
    pub(crate) max_mr_size: u64,
    pub(crate) max_mr: u32,
    pub(crate) max_qp: u32,
    pub(crate) max_qp_wr: u32,
    pub(crate) max_sge: u32,
    pub(crate) max_sge_rd: u32,
    pub(crate) max_cq: u32,
    pub(crate) max_cqe: u32,
    pub(crate) max_rd_atom: u32,
    pub(crate) max_init_rd_atom: u32,
    pub(crate) max_srq: u32,
    pub(crate) max_srq_wr: u32,
    pub(crate) max_srq_sge: u32,
    pub(crate) atomics: bool,
    pub(crate) ports: u8,
}

/// What a port says of itself (`ibv_query_port(3)`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortInfo {
    /// `enum ibv_port_state`.
    pub(crate) state: u32,
    /// `enum ibv_mtu`.
    pub(crate) active_mtu: u32,
    pub(crate) gid_table_len: u32,
    pub(crate) max_message_bytes: u32,
    pub(crate) lid: u16,
    /// 1 InfiniBand, 2 Ethernet, 0 not said.
    pub(crate) link_layer: u8,
    /// Whether routing headers are needed even inside the subnet.
    pub(crate) grh_required: bool,
}

/// An entry of a GID table as the device tells it: index, bytes, `enum ibv_gid_type` if the library knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawGid {
    pub(crate) index: u32,
    pub(crate) bytes: [u8; 16],
    pub(crate) kind: Option<u32>,
}

/// An asynchronous event: `enum ibv_event_type`, and the context number of the object it is about (0 for none).
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawEvent {
    pub(crate) kind: u32,
    pub(crate) token: usize,
}

/// An open device.
#[derive(Debug)]
pub(crate) struct Context {
    verbs: &'static Verbs,
    raw: NonNull<ibv_context>,
}

impl Context {
    /// Opens the device of this name. `Ok(None)`: there is none that a provider knows.
    pub(crate) fn open(verbs: &'static Verbs, name: &str) -> Result<Option<Rc<Context>>, i32> {
        let list = DeviceList::get(verbs)?;
        let Some(device) = list.devices().find(|device| list.name(*device) == name) else {
            return Ok(None);
        };
        // SAFETY: `device` is of the list, which lives until the end of this function.
        let raw = NonNull::new(unsafe { (verbs.open_device)(device) }).ok_or_else(errno)?;
        let context = Context { verbs, raw };
        set_nonblocking(context.async_fd())?;
        Ok(Some(Rc::new(context)))
    }

    /// Becomes readable with an asynchronous event.
    pub(crate) fn async_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the context is open, and so is its descriptor for as long as it is borrowed.
        unsafe { BorrowedFd::borrow_raw((*self.raw.as_ptr()).async_fd) }
    }

    /// Whether it speaks iWARP.
    pub(crate) fn is_iwarp(&self) -> bool {
        // SAFETY: an open context points to its device.
        let transport = unsafe { (*(*self.raw.as_ptr()).device).transport_type };
        transport == ibv_transport_type::IBV_TRANSPORT_IWARP
    }

    pub(crate) fn device_info(&self) -> Result<DeviceInfo, i32> {
        // SAFETY: plain data, for which zeroes are valid, filled by the call.
        let mut attr: ibv_device_attr = unsafe { zeroed() };
        // SAFETY: the context is open and `attr` lives across the call.
        checked(unsafe { (self.verbs.query_device)(self.raw.as_ptr(), &mut attr) })?;
        let count = |n: c_int| u32::try_from(n).unwrap_or(0);
        Ok(DeviceInfo {
            vendor_id: attr.vendor_id,
            max_mr_size: attr.max_mr_size,
            max_mr: count(attr.max_mr),
            max_qp: count(attr.max_qp),
            max_qp_wr: count(attr.max_qp_wr),
            max_sge: count(attr.max_sge),
            max_sge_rd: count(attr.max_sge_rd),
            max_cq: count(attr.max_cq),
            max_cqe: count(attr.max_cqe),
            max_rd_atom: count(attr.max_qp_rd_atom),
            max_init_rd_atom: count(attr.max_qp_init_rd_atom),
            max_srq: count(attr.max_srq),
            max_srq_wr: count(attr.max_srq_wr),
            max_srq_sge: count(attr.max_srq_sge),
            atomics: attr.atomic_cap != ibv_atomic_cap::IBV_ATOMIC_NONE,
            ports: attr.phys_port_cnt,
        })
    }

    pub(crate) fn port_info(&self, port: u8) -> Result<PortInfo, i32> {
        // SAFETY: plain data, for which zeroes are valid, filled by the call.
        let mut attr: ibv_port_attr = unsafe { zeroed() };
        // SAFETY: the context is open; the exported function writes no more than the beginning of `attr`.
        checked(unsafe { (self.verbs.query_port)(self.raw.as_ptr(), port, &mut attr) })?;
        Ok(PortInfo {
            state: attr.state,
            active_mtu: attr.active_mtu,
            gid_table_len: u32::try_from(attr.gid_tbl_len).unwrap_or(0),
            max_message_bytes: attr.max_msg_sz,
            lid: attr.lid,
            link_layer: attr.link_layer,
            grh_required: attr.flags & 1 != 0, // IBV_QPF_GRH_REQUIRED
        })
    }

    /// The GIDs of a port that are not null, in table order. One call where the library can, else entry by entry up to
    /// `scan_max`: tables have up to 1,024 entries and each costs a read of sysfs.
    pub(crate) fn gids(&self, port: u8, table_len: u32, scan_max: u32) -> Result<Vec<RawGid>, i32> {
        if let Some(query) = self.verbs.query_gid_table
            && let Ok(found) = self.gid_table(query, port, table_len)
        {
            return Ok(found);
        }
        let mut found = Vec::new();
        for index in 0..table_len.min(scan_max) {
            let mut gid = ibv_gid { raw: [0; 16] };
            // SAFETY: the context is open and `gid` lives across the call.
            checked(unsafe { (self.verbs.query_gid)(self.raw.as_ptr(), port, index as c_int, &mut gid) })?;
            // SAFETY: every bit pattern is 16 bytes.
            let bytes = unsafe { gid.raw };
            if bytes != [0; 16] {
                found.push(RawGid { index, bytes, kind: None });
            }
        }
        Ok(found)
    }

    fn gid_table(
        &self,
        query: unsafe extern "C" fn(*mut ibv_context, *mut ibv_gid_entry, usize, u32, usize) -> isize,
        port: u8,
        table_len: u32,
    ) -> Result<Vec<RawGid>, i32> {
        // All ports share the answer, and no device has more than 255.
        let room = (table_len as usize).clamp(1, 1 << 14) * 2;
        // SAFETY: plain data, for which zeroes are valid.
        let mut entries: Vec<ibv_gid_entry> = (0..room).map(|_| unsafe { zeroed() }).collect();
        // SAFETY: the context is open and `entries` has room for what the call is told.
        let count = unsafe {
            query(self.raw.as_ptr(), entries.as_mut_ptr(), entries.len(), 0, size_of::<ibv_gid_entry>())
        };
        let count = usize::try_from(count).map_err(|_| errno())?;
        let of_port = |entry: &&ibv_gid_entry| entry.port_num == u32::from(port);
        Ok(entries
            .iter()
            .take(count)
            .filter(of_port)
            // SAFETY: every bit pattern is 16 bytes.
            .map(|e| RawGid { index: e.gid_index, bytes: unsafe { e.gid.raw }, kind: Some(e.gid_type) })
            .collect())
    }

    /// The next asynchronous event, acknowledged. `None`: there is none now.
    pub(crate) fn next_event(&self) -> Option<RawEvent> {
        let mut event = MaybeUninit::<ibv_async_event>::zeroed();
        // SAFETY: the context is open, the descriptor does not block, and the call fills `event` or answers -1.
        if unsafe { (self.verbs.get_async_event)(self.raw.as_ptr(), event.as_mut_ptr()) } != 0 {
            return None;
        }
        let event = event.as_mut_ptr();
        // SAFETY: `event` is filled. Its type is read as a number, because a kernel may know types that the enumeration of
        // `rdma-sys` does not.
        let kind = unsafe { (&raw const (*event).event_type).cast::<u32>().read() };
        // SAFETY: for these types the element is a pointer to one of our objects, which is alive: only this device makes
        // them, and destroying one removes its unread events from the queue (kernel: uverbs_main.c,
        // ib_uverbs_release_uevent).
        let token = unsafe {
            match kind {
                0 => (*(*event).element.cq).cq_context as usize,
                1..=7 | 16 => (*(*event).element.qp).qp_context as usize,
                14 | 15 => (*(*event).element.srq).srq_context as usize,
                _ => 0,
            }
        };
        // SAFETY: read just now and acknowledged once; its object is alive, as above.
        unsafe { (self.verbs.ack_async_event)(event) }
        Some(RawEvent { kind, token })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: opened by us; everything made from it holds a reference and is gone.
        unsafe { (self.verbs.close_device)(self.raw.as_ptr()) };
    }
}

/// A protection domain.
#[derive(Debug)]
pub(crate) struct Pd {
    context: Rc<Context>,
    raw: NonNull<ibv_pd>,
}

impl Pd {
    pub(crate) fn new(context: &Rc<Context>) -> Result<Rc<Pd>, i32> {
        // SAFETY: the context is open.
        let raw =
            NonNull::new(unsafe { (context.verbs.alloc_pd)(context.raw.as_ptr()) }).ok_or_else(errno)?;
        Ok(Rc::new(Pd { context: Rc::clone(context), raw }))
    }
}

impl Drop for Pd {
    fn drop(&mut self) {
        // SAFETY: allocated by us; regions and queues of the domain hold a reference and are gone.
        unsafe { (self.context.verbs.dealloc_pd)(self.raw.as_ptr()) };
    }
}

/// A registration. Keeps its region's memory where it is.
#[derive(Debug)]
pub(crate) struct Mr {
    pd: Rc<Pd>,
    region: Region,
    raw: NonNull<ibv_mr>,
}

impl Mr {
    /// Registers a whole region with rights of `enum ibv_access_flags`.
    pub(crate) fn new(pd: &Rc<Pd>, region: &Region, access: u32) -> Result<Mr, i32> {
        let len = usize::try_from(region.len()).map_err(|_| libc::EINVAL)?;
        let base = region.base().as_ptr().cast::<c_void>();
        // SAFETY: base and length are one allocation, which the clone of the region kept below outlives this registration
        // with. Rust never holds references to a region's bytes, only cells, so a device may write them at any time.
        let raw = unsafe { (pd.context.verbs.reg_mr)(pd.raw.as_ptr(), base, len, access as c_int) };
        let raw = NonNull::new(raw).ok_or_else(errno)?;
        Ok(Mr { pd: Rc::clone(pd), region: region.clone(), raw })
    }

    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    pub(crate) fn lkey(&self) -> u32 {
        // SAFETY: registered, so `raw` points to the library's record of it.
        unsafe { (*self.raw.as_ptr()).lkey }
    }

    pub(crate) fn rkey(&self) -> u32 {
        // SAFETY: as in `lkey`.
        unsafe { (*self.raw.as_ptr()).rkey }
    }

    /// The device's address of the first byte: where the process sees it too.
    pub(crate) fn addr(&self) -> u64 {
        self.region.base().as_ptr() as u64
    }
}

impl Drop for Mr {
    fn drop(&mut self) {
        // SAFETY: registered by us, deregistered once.
        if unsafe { (self.pd.context.verbs.dereg_mr)(self.raw.as_ptr()) } != 0 {
            // The device may still use the memory: it must never be freed.
            std::mem::forget(self.region.clone());
        }
    }
}

/// Where completion queues report that something came.
#[derive(Debug)]
pub(crate) struct CompChannel {
    context: Rc<Context>,
    raw: NonNull<ibv_comp_channel>,
}

impl CompChannel {
    pub(crate) fn new(context: &Rc<Context>) -> Result<Rc<CompChannel>, i32> {
        // SAFETY: the context is open.
        let raw = unsafe { (context.verbs.create_comp_channel)(context.raw.as_ptr()) };
        let channel = CompChannel { context: Rc::clone(context), raw: NonNull::new(raw).ok_or_else(errno)? };
        set_nonblocking(channel.fd())?;
        Ok(Rc::new(channel))
    }

    /// Becomes readable when an armed queue has something.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the channel is open, and so is its descriptor for as long as it is borrowed.
        unsafe { BorrowedFd::borrow_raw((*self.raw.as_ptr()).fd) }
    }

    /// Takes one notification: the number of the queue it is about. `None`: there is none now.
    pub(crate) fn next(&self) -> Option<usize> {
        let (mut cq, mut token) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the channel is open and does not block; both places live across the call.
        if unsafe { (self.context.verbs.get_cq_event)(self.raw.as_ptr(), &mut cq, &mut token) } != 0 {
            return None;
        }
        // SAFETY: `cq` is alive: destroying one removes its unread notifications (kernel: uverbs_std_types_cq.c,
        // ib_uverbs_release_ucq).
        unsafe { (self.context.verbs.ack_cq_events)(cq, 1) };
        Some(token as usize)
    }
}

impl Drop for CompChannel {
    fn drop(&mut self) {
        // SAFETY: made by us; its queues hold a reference and are gone.
        unsafe { (self.context.verbs.destroy_comp_channel)(self.raw.as_ptr()) };
    }
}

/// One completion as the device tells it. On failure only `wr_id`, `status`, `qp_num` and `vendor` are valid
/// (`ibv_poll_cq(3)`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawCompletion {
    pub(crate) wr_id: u64,
    /// `enum ibv_wc_status`.
    pub(crate) status: u32,
    /// `enum ibv_wc_opcode`.
    pub(crate) opcode: u32,
    pub(crate) vendor: u32,
    pub(crate) len: u32,
    pub(crate) qp_num: u32,
    pub(crate) imm: Option<u32>,
}

/// Where completions are polled into; made once.
pub(crate) struct WcBuffer(Box<[MaybeUninit<ibv_wc>]>);

impl WcBuffer {
    pub(crate) fn new(len: usize) -> WcBuffer {
        WcBuffer((0..len).map(|_| MaybeUninit::zeroed()).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// One of those that the last poll brought.
    pub(crate) fn at(&self, index: usize) -> RawCompletion {
        // SAFETY: zeroed at birth and only ever overwritten by the library; zeroes are a valid `ibv_wc`.
        let wc = unsafe { self.0[index].assume_init_ref() };
        let with_imm = wc.wc_flags & ibv_wc_flags::IBV_WC_WITH_IMM.0 != 0;
        // SAFETY: both fields of the union are plain numbers of 32 bits.
        let imm = unsafe { wc.imm_data_invalidated_rkey_union.imm_data };
        RawCompletion {
            wr_id: wc.wr_id,
            status: wc.status,
            opcode: wc.opcode,
            vendor: wc.vendor_err,
            len: wc.byte_len,
            qp_num: wc.qp_num,
            imm: with_imm.then(|| u32::from_be(imm)),
        }
    }
}

impl fmt::Debug for WcBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WcBuffer({})", self.0.len())
    }
}

/// A completion queue.
#[derive(Debug)]
pub(crate) struct Cq {
    channel: Rc<CompChannel>,
    raw: NonNull<ibv_cq>,
}

impl Cq {
    /// Makes one whose notifications carry `token`.
    pub(crate) fn new(channel: &Rc<CompChannel>, depth: u32, token: usize) -> Result<Rc<Cq>, i32> {
        let depth = c_int::try_from(depth).map_err(|_| libc::EINVAL)?;
        let (context, token) = (&channel.context, ptr::without_provenance_mut(token));
        // SAFETY: context and channel are open and outlive the queue, which holds them.
        let raw =
            unsafe { (context.verbs.create_cq)(context.raw.as_ptr(), depth, token, channel.raw.as_ptr(), 0) };
        Ok(Rc::new(Cq { channel: Rc::clone(channel), raw: NonNull::new(raw).ok_or_else(errno)? }))
    }

    /// Takes at most `max` completions. An error is the device's refusal to be polled at all.
    #[inline]
    pub(crate) fn poll(&self, into: &mut WcBuffer, max: usize) -> Result<usize, i32> {
        let max = max.min(into.0.len());
        // SAFETY: the queue is open; `into` has room for `max`, which fits an `i32` since buffers are small.
        let polled = unsafe { ibv_poll_cq(self.raw.as_ptr(), max as i32, into.0.as_mut_ptr().cast()) };
        usize::try_from(polled).map(|n| n.min(max)).map_err(|_| polled)
    }

    /// Asks for one notification, with the next completion that comes.
    pub(crate) fn arm(&self) -> Result<(), i32> {
        // SAFETY: the queue is open.
        checked(unsafe { ibv_req_notify_cq(self.raw.as_ptr(), 0) })
    }
}

impl Drop for Cq {
    fn drop(&mut self) {
        // SAFETY: made by us; queue pairs that complete here hold a reference and are gone; its events are acknowledged.
        unsafe { (self.channel.context.verbs.destroy_cq)(self.raw.as_ptr()) };
    }
}

/// A receive queue that queue pairs share.
#[derive(Debug)]
pub(crate) struct Srq {
    pd: Rc<Pd>,
    raw: NonNull<ibv_srq>,
}

impl Srq {
    /// Makes one whose events carry `token`.
    pub(crate) fn new(pd: &Rc<Pd>, depth: u32, sges: u32, token: usize) -> Result<Rc<Srq>, i32> {
        let mut attr = ibv_srq_init_attr {
            srq_context: ptr::without_provenance_mut(token),
            attr: ibv_srq_attr { max_wr: depth, max_sge: sges, srq_limit: 0 },
        };
        // SAFETY: the domain is alive and `attr` lives across the call.
        let raw = unsafe { (pd.context.verbs.create_srq)(pd.raw.as_ptr(), &mut attr) };
        Ok(Rc::new(Srq { pd: Rc::clone(pd), raw: NonNull::new(raw).ok_or_else(errno)? }))
    }

    /// Asks for an event when fewer than `limit` receives are left.
    pub(crate) fn arm(&self, limit: u32) -> Result<(), i32> {
        let mut attr = ibv_srq_attr { max_wr: 0, max_sge: 0, srq_limit: limit };
        let mask = ibv_srq_attr_mask::IBV_SRQ_LIMIT.0 as c_int;
        // SAFETY: the queue is open and `attr` lives across the call.
        checked(unsafe { (self.pd.context.verbs.modify_srq)(self.raw.as_ptr(), &mut attr, mask) })
    }
}

impl Drop for Srq {
    fn drop(&mut self) {
        // SAFETY: made by us; queue pairs that take from it hold a reference and are gone.
        unsafe { (self.pd.context.verbs.destroy_srq)(self.raw.as_ptr()) };
    }
}

/// What a queue pair is asked to be.
#[derive(Clone, Debug)]
pub(crate) struct QpSpec<'a> {
    pub(crate) send_cq: &'a Rc<Cq>,
    pub(crate) recv_cq: &'a Rc<Cq>,
    pub(crate) srq: Option<&'a Rc<Srq>>,
    pub(crate) send_depth: u32,
    pub(crate) recv_depth: u32,
    pub(crate) sges: u32,
    pub(crate) inline_bytes: u32,
    /// What its events carry.
    pub(crate) token: usize,
}

/// Attributes of INIT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitAttr {
    pub(crate) port: u8,
    pub(crate) pkey_index: u16,
    /// `enum ibv_access_flags`.
    pub(crate) access: u32,
}

/// Attributes of RTR.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RtrAttr {
    pub(crate) port: u8,
    /// `enum ibv_mtu`.
    pub(crate) mtu: u32,
    pub(crate) dest_qpn: u32,
    pub(crate) rq_psn: u32,
    pub(crate) max_dest_rd_atomic: u8,
    pub(crate) min_rnr_timer: u8,
    pub(crate) dlid: u16,
    pub(crate) service_level: u8,
    /// Source index, destination, traffic class; `None` inside an InfiniBand subnet.
    pub(crate) route: Option<(u8, [u8; 16], u8)>,
}

/// Attributes of RTS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RtsAttr {
    pub(crate) sq_psn: u32,
    pub(crate) timeout: u8,
    pub(crate) retry_cnt: u8,
    pub(crate) rnr_retry: u8,
    pub(crate) max_rd_atomic: u8,
}

/// A reliable-connected queue pair.
#[derive(Debug)]
pub(crate) struct Qp {
    pd: Rc<Pd>,
    _send_cq: Rc<Cq>,
    _recv_cq: Rc<Cq>,
    _srq: Option<Rc<Srq>>,
    raw: NonNull<ibv_qp>,
}

impl Qp {
    pub(crate) fn new(pd: &Rc<Pd>, spec: &QpSpec<'_>) -> Result<Qp, i32> {
        let mut attr = ibv_qp_init_attr {
            qp_context: ptr::without_provenance_mut(spec.token),
            send_cq: spec.send_cq.raw.as_ptr(),
            recv_cq: spec.recv_cq.raw.as_ptr(),
            srq: spec.srq.map_or(ptr::null_mut(), |srq| srq.raw.as_ptr()),
            cap: ibv_qp_cap {
                max_send_wr: spec.send_depth,
                max_recv_wr: spec.recv_depth,
                max_send_sge: spec.sges,
                max_recv_sge: if spec.recv_depth == 0 { 0 } else { spec.sges },
                max_inline_data: spec.inline_bytes,
            },
            qp_type: ibv_qp_type::IBV_QPT_RC,
            sq_sig_all: 0,
        };
        // SAFETY: everything it refers to is alive and is held by the queue pair from here on.
        let raw = unsafe { (pd.context.verbs.create_qp)(pd.raw.as_ptr(), &mut attr) };
        Ok(Qp {
            pd: Rc::clone(pd),
            _send_cq: Rc::clone(spec.send_cq),
            _recv_cq: Rc::clone(spec.recv_cq),
            _srq: spec.srq.map(Rc::clone),
            raw: NonNull::new(raw).ok_or_else(errno)?,
        })
    }

    fn verbs(&self) -> &'static Verbs {
        self.pd.context.verbs
    }

    pub(crate) fn number(&self) -> u32 {
        // SAFETY: the queue pair is alive.
        unsafe { (*self.raw.as_ptr()).qp_num }
    }

    /// Its state, as the device says: `enum ibv_qp_state`.
    pub(crate) fn state(&self) -> Result<u32, i32> {
        // SAFETY: plain data, for which zeroes are valid.
        let (mut attr, mut init): (ibv_qp_attr, ibv_qp_init_attr) = unsafe { (zeroed(), zeroed()) };
        let mask = ibv_qp_attr_mask::IBV_QP_STATE.0 as c_int;
        // SAFETY: the queue pair is alive, and both structures live across the call.
        checked(unsafe { (self.verbs().query_qp)(self.raw.as_ptr(), &mut attr, mask, &mut init) })?;
        Ok(attr.qp_state)
    }

    /// Whether WRITEs are placed in order, byte by byte (`ibv_query_qp_data_in_order(3)`). False when nobody says so.
    pub(crate) fn writes_in_order(&self) -> bool {
        let write = ibv_wr_opcode::IBV_WR_RDMA_WRITE;
        // SAFETY: the queue pair is alive; without flags the answer is 1 for the whole message, else 0.
        self.verbs()
            .query_qp_data_in_order
            .is_some_and(|ask| unsafe { ask(self.raw.as_ptr(), write, 0) } == 1)
    }

    fn modify(&self, attr: &mut ibv_qp_attr, mask: ibv_qp_attr_mask) -> Result<(), i32> {
        // SAFETY: the queue pair is alive and `attr` lives across the call.
        checked(unsafe { (self.verbs().modify_qp)(self.raw.as_ptr(), attr, mask.0 as c_int) })
    }

    fn attr(state: u32) -> ibv_qp_attr {
        // SAFETY: plain data, for which zeroes are valid.
        let attr: ibv_qp_attr = unsafe { zeroed() };
        ibv_qp_attr { qp_state: state, ..attr }
    }

    /// RESET, ERR, back to RTS: transitions that need nothing but the state.
    pub(crate) fn move_to(&self, state: u32) -> Result<(), i32> {
        self.modify(&mut Qp::attr(state), ibv_qp_attr_mask::IBV_QP_STATE)
    }

    pub(crate) fn to_init(&self, init: &InitAttr) -> Result<(), i32> {
        type M = ibv_qp_attr_mask;
        let mut attr = Qp::attr(ibv_qp_state::IBV_QPS_INIT);
        (attr.port_num, attr.pkey_index, attr.qp_access_flags) = (init.port, init.pkey_index, init.access);
        self.modify(
            &mut attr,
            M::IBV_QP_STATE | M::IBV_QP_PKEY_INDEX | M::IBV_QP_PORT | M::IBV_QP_ACCESS_FLAGS,
        )
    }

    pub(crate) fn to_rtr(&self, rtr: &RtrAttr) -> Result<(), i32> {
        type M = ibv_qp_attr_mask;
        let mut attr = Qp::attr(ibv_qp_state::IBV_QPS_RTR);
        attr.path_mtu = rtr.mtu;
        attr.dest_qp_num = rtr.dest_qpn;
        attr.rq_psn = rtr.rq_psn;
        attr.max_dest_rd_atomic = rtr.max_dest_rd_atomic;
        attr.min_rnr_timer = rtr.min_rnr_timer;
        attr.ah_attr.port_num = rtr.port;
        attr.ah_attr.dlid = rtr.dlid;
        attr.ah_attr.sl = rtr.service_level;
        if let Some((sgid_index, dgid, traffic_class)) = rtr.route {
            attr.ah_attr.is_global = 1;
            attr.ah_attr.grh = ibv_global_route {
                dgid: ibv_gid { raw: dgid },
                flow_label: 0,
                sgid_index,
                hop_limit: 64,
                traffic_class,
            };
        }
        self.modify(
            &mut attr,
            M::IBV_QP_STATE
                | M::IBV_QP_AV
                | M::IBV_QP_PATH_MTU
                | M::IBV_QP_DEST_QPN
                | M::IBV_QP_RQ_PSN
                | M::IBV_QP_MAX_DEST_RD_ATOMIC
                | M::IBV_QP_MIN_RNR_TIMER,
        )
    }

    pub(crate) fn to_rts(&self, rts: &RtsAttr) -> Result<(), i32> {
        type M = ibv_qp_attr_mask;
        let mut attr = Qp::attr(ibv_qp_state::IBV_QPS_RTS);
        attr.sq_psn = rts.sq_psn;
        attr.timeout = rts.timeout;
        attr.retry_cnt = rts.retry_cnt;
        attr.rnr_retry = rts.rnr_retry;
        attr.max_rd_atomic = rts.max_rd_atomic;
        self.modify(
            &mut attr,
            M::IBV_QP_STATE
                | M::IBV_QP_SQ_PSN
                | M::IBV_QP_TIMEOUT
                | M::IBV_QP_RETRY_CNT
                | M::IBV_QP_RNR_RETRY
                | M::IBV_QP_MAX_QP_RD_ATOMIC,
        )
    }

    /// Stops sending, and asks to be told when the queue is drained.
    pub(crate) fn to_sqd(&self) -> Result<(), i32> {
        let mut attr = Qp::attr(ibv_qp_state::IBV_QPS_SQD);
        attr.en_sqd_async_notify = 1;
        self.modify(&mut attr, ibv_qp_attr_mask::IBV_QP_STATE | ibv_qp_attr_mask::IBV_QP_EN_SQD_ASYNC_NOTIFY)
    }

    /// Rings the doorbell of a soft-RoCE queue pair without a work. Its provider refuses an atomic without data at an odd address
    /// before it touches the queue, and rings for what is there all the same (providers/rxe/rxe.c, rxe_post_send); an empty
    /// list it refuses without ringing.
    pub(crate) fn kick_rxe(&self) {
        // SAFETY: plain data and pointers, for which zeroes are valid.
        let mut wr: ibv_send_wr = unsafe { zeroed() };
        wr.opcode = ibv_wr_opcode::IBV_WR_ATOMIC_FETCH_AND_ADD;
        wr.wr = wr_t { atomic: atomic_t { remote_addr: 1, compare_add: 0, swap: 0, rkey: 0 } };
        let mut bad = ptr::null_mut();
        // SAFETY: the queue pair is alive; the list of one work without pieces lives across the call.
        unsafe { ibv_post_send(self.raw.as_ptr(), &mut wr, &mut bad) };
    }
}

impl Drop for Qp {
    fn drop(&mut self) {
        // SAFETY: made by us, destroyed once; its events are acknowledged. When the call returns, the device no longer
        // touches the memory of its works (IBA 10.2.4.4).
        unsafe { (self.verbs().destroy_qp)(self.raw.as_ptr()) };
    }
}

/// A local piece as the device wants it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) addr: u64,
    pub(crate) len: u32,
    pub(crate) lkey: u32,
}

/// A send-side work as the device wants it, without its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendWork {
    pub(crate) wr_id: u64,
    pub(crate) verb: Verb,
    pub(crate) signalled: bool,
    pub(crate) fence: bool,
}

/// What a send-side work does. Remote places are address and key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    Send { imm: Option<u32> },
    Write { remote: (u64, u32), imm: Option<u32> },
    Read { remote: (u64, u32) },
    CompareSwap { remote: (u64, u32), compare: u64, swap: u64 },
    FetchAdd { remote: (u64, u32), add: u64 },
}

/// How much of a chain the device took, and why not more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartlyTaken {
    pub(crate) taken: usize,
    pub(crate) errno: i32,
}

fn partly_taken(base: usize, bad: usize, size: usize, len: usize, errno: i32) -> PartlyTaken {
    // A provider that names no work of the chain took none as far as anyone can tell.
    let index = bad.checked_sub(base).map_or(0, |bytes| bytes / size);
    PartlyTaken { taken: if index < len { index } else { 0 }, errno }
}

/// Send-side works that wait for their doorbell. Made once; holds no memory of its own works but the inline bytes.
pub(crate) struct SendChain {
    wrs: Box<[ibv_send_wr]>,
    /// First piece of each request.
    firsts: Box<[u32]>,
    /// Works up to each request, it included: a work may take two.
    works: Box<[u32]>,
    sges: Box<[ibv_sge]>,
    inline: Box<[u8]>,
    len: usize,
    sges_used: usize,
    inline_used: usize,
}

impl SendChain {
    /// Room for this many works, pieces and inline bytes in all.
    pub(crate) fn new(works: usize, pieces: usize, inline_bytes: usize) -> SendChain {
        SendChain {
            // SAFETY: plain data and pointers, for which zeroes are valid.
            wrs: (0..works).map(|_| unsafe { zeroed() }).collect(),
            firsts: vec![0; works].into(),
            works: vec![0; works].into(),
            sges: vec![ibv_sge { addr: 0, length: 0, lkey: 0 }; pieces].into(),
            inline: vec![0; inline_bytes].into(),
            len: 0,
            sges_used: 0,
            inline_used: 0,
        }
    }

    /// How many works wait.
    pub(crate) fn works(&self) -> usize {
        self.len.checked_sub(1).map_or(0, |last| self.works[last] as usize)
    }

    /// Whether another work with this many pieces and inline bytes fits, and one more request that belongs to it.
    #[inline]
    pub(crate) fn fits(&self, pieces: usize, inline_bytes: usize) -> bool {
        self.len + 2 <= self.wrs.len()
            && self.sges.len() - self.sges_used > pieces.max(1)
            && self.inline.len() - self.inline_used >= inline_bytes
    }

    /// Adds a work with pieces of registered memory. It [`fits`](Self::fits).
    #[inline]
    pub(crate) fn push(&mut self, work: &SendWork, pieces: impl Iterator<Item = Piece>) {
        let first = self.sges_used;
        for piece in pieces {
            self.sges[self.sges_used] = ibv_sge { addr: piece.addr, length: piece.len, lkey: piece.lkey };
            self.sges_used += 1;
        }
        self.enter(work, first, 0);
    }

    /// Adds a request that belongs to the work before it.
    #[inline]
    pub(crate) fn push_more(&mut self, work: &SendWork, pieces: impl Iterator<Item = Piece>) {
        self.push(work, pieces);
        self.works[self.len - 1] -= 1;
    }

    /// Adds a work with inline bytes, which are copied. It [`fits`](Self::fits).
    #[inline]
    pub(crate) fn push_inline(&mut self, work: &SendWork, bytes: &[u8]) {
        let first = self.sges_used;
        if !bytes.is_empty() {
            let place = &mut self.inline[self.inline_used..self.inline_used + bytes.len()];
            place.copy_from_slice(bytes);
            // The address is an offset until the chain is submitted.
            let addr = self.inline_used as u64;
            self.sges[first] = ibv_sge { addr, length: bytes.len() as u32, lkey: 0 };
            self.sges_used += 1;
            self.inline_used += bytes.len();
        }
        self.enter(work, first, ibv_send_flags::IBV_SEND_INLINE.0);
    }

    fn enter(&mut self, work: &SendWork, first: usize, inline_flag: u32) {
        type Op = ibv_send_flags;
        let wr = &mut self.wrs[self.len];
        let mut flags = inline_flag;
        if work.signalled {
            flags |= Op::IBV_SEND_SIGNALED.0;
        }
        if work.fence {
            flags |= Op::IBV_SEND_FENCE.0;
        }
        wr.wr_id = work.wr_id;
        wr.send_flags = flags;
        wr.num_sge = (self.sges_used - first) as c_int;
        let rdma = |(remote_addr, rkey)| wr_t { rdma: rdma_t { remote_addr, rkey } };
        let immediate =
            |imm: Option<u32>| imm_data_invalidated_rkey_union_t { imm_data: imm.unwrap_or(0).to_be() };
        match work.verb {
            Verb::Send { imm } => {
                wr.opcode = match imm {
                    None => ibv_wr_opcode::IBV_WR_SEND,
                    Some(_) => ibv_wr_opcode::IBV_WR_SEND_WITH_IMM,
                };
                wr.imm_data_invalidated_rkey_union = immediate(imm);
            }
            Verb::Write { remote, imm } => {
                wr.opcode = match imm {
                    None => ibv_wr_opcode::IBV_WR_RDMA_WRITE,
                    Some(_) => ibv_wr_opcode::IBV_WR_RDMA_WRITE_WITH_IMM,
                };
                wr.wr = rdma(remote);
                wr.imm_data_invalidated_rkey_union = immediate(imm);
            }
            Verb::Read { remote } => {
                wr.opcode = ibv_wr_opcode::IBV_WR_RDMA_READ;
                wr.wr = rdma(remote);
            }
            Verb::CompareSwap { remote: (remote_addr, rkey), compare, swap } => {
                wr.opcode = ibv_wr_opcode::IBV_WR_ATOMIC_CMP_AND_SWP;
                wr.wr = wr_t { atomic: atomic_t { remote_addr, compare_add: compare, swap, rkey } };
            }
            Verb::FetchAdd { remote: (remote_addr, rkey), add } => {
                wr.opcode = ibv_wr_opcode::IBV_WR_ATOMIC_FETCH_AND_ADD;
                wr.wr = wr_t { atomic: atomic_t { remote_addr, compare_add: add, swap: 0, rkey } };
            }
        }
        self.firsts[self.len] = first as u32;
        self.works[self.len] = self.works() as u32 + 1;
        self.len += 1;
    }

    /// Forgets every work.
    pub(crate) fn clear(&mut self) {
        (self.len, self.sges_used, self.inline_used) = (0, 0, 0);
    }

    /// Hands the works over in one call, and forgets them.
    pub(crate) fn submit(&mut self, qp: &Qp) -> Result<usize, PartlyTaken> {
        let (len, works) = (self.len, self.works());
        if len == 0 {
            return Ok(0);
        }
        let (wrs, sges, inline) = (self.wrs.as_mut_ptr(), self.sges.as_mut_ptr(), self.inline.as_mut_ptr());
        for index in 0..len {
            // SAFETY: every index is below `len`, which is at most the length of `wrs` and `firsts`; `firsts` and `num_sge`
            // were set by `enter` and stay inside `sges`; an inline piece's offset is inside `inline`.
            unsafe {
                let wr = &mut *wrs.add(index);
                wr.next = if index + 1 < len { wrs.add(index + 1) } else { ptr::null_mut() };
                wr.sg_list = sges.add(self.firsts[index] as usize);
                if wr.send_flags & ibv_send_flags::IBV_SEND_INLINE.0 != 0 && wr.num_sge == 1 {
                    (*wr.sg_list).addr = inline.add((*wr.sg_list).addr as usize) as u64;
                }
            }
        }
        let mut bad = ptr::null_mut();
        // SAFETY: the queue pair is alive; the list ends with a null pointer, and the library copies works, pieces and
        // inline bytes before it returns. The memory that pieces name is registered or refused by the device.
        let answer = unsafe { ibv_post_send(qp.raw.as_ptr(), wrs, &mut bad) };
        self.clear();
        checked(answer).map(|()| works).map_err(|errno| {
            let partly = partly_taken(wrs as usize, bad as usize, size_of::<ibv_send_wr>(), len, errno);
            // A work whose second request was not taken is under way all the same.
            let taken = partly.taken.checked_sub(1).map_or(0, |last| self.works[last] as usize);
            PartlyTaken { taken, errno }
        })
    }
}

impl fmt::Debug for SendChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendChain({} of {})", self.len, self.wrs.len())
    }
}

/// Receives that wait for their doorbell.
pub(crate) struct RecvChain {
    wrs: Box<[ibv_recv_wr]>,
    firsts: Box<[u32]>,
    sges: Box<[ibv_sge]>,
    len: usize,
    sges_used: usize,
}

impl RecvChain {
    /// Room for this many receives and pieces in all.
    pub(crate) fn new(works: usize, pieces: usize) -> RecvChain {
        RecvChain {
            // SAFETY: plain data and pointers, for which zeroes are valid.
            wrs: (0..works).map(|_| unsafe { zeroed() }).collect(),
            firsts: vec![0; works].into(),
            sges: vec![ibv_sge { addr: 0, length: 0, lkey: 0 }; pieces].into(),
            len: 0,
            sges_used: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether another receive with this many pieces fits.
    #[inline]
    pub(crate) fn fits(&self, pieces: usize) -> bool {
        self.len < self.wrs.len() && self.sges.len() - self.sges_used >= pieces.max(1)
    }

    /// Adds a receive. It [`fits`](Self::fits).
    #[inline]
    pub(crate) fn push(&mut self, wr_id: u64, pieces: impl Iterator<Item = Piece>) {
        let first = self.sges_used;
        for piece in pieces {
            self.sges[self.sges_used] = ibv_sge { addr: piece.addr, length: piece.len, lkey: piece.lkey };
            self.sges_used += 1;
        }
        let wr = &mut self.wrs[self.len];
        (wr.wr_id, wr.num_sge) = (wr_id, (self.sges_used - first) as c_int);
        self.firsts[self.len] = first as u32;
        self.len += 1;
    }

    /// Forgets every receive.
    pub(crate) fn clear(&mut self) {
        (self.len, self.sges_used) = (0, 0);
    }

    /// Links the receives; the first of them, if there is one.
    fn link(&mut self) -> Option<*mut ibv_recv_wr> {
        let (wrs, sges) = (self.wrs.as_mut_ptr(), self.sges.as_mut_ptr());
        for index in 0..self.len {
            // SAFETY: as in `SendChain::submit`.
            unsafe {
                let wr = &mut *wrs.add(index);
                wr.next = if index + 1 < self.len { wrs.add(index + 1) } else { ptr::null_mut() };
                wr.sg_list = sges.add(self.firsts[index] as usize);
            }
        }
        (self.len > 0).then_some(wrs)
    }

    fn submit_with(
        &mut self,
        post: impl FnOnce(*mut ibv_recv_wr, *mut *mut ibv_recv_wr) -> c_int,
    ) -> Result<usize, PartlyTaken> {
        let len = self.len;
        let Some(wrs) = self.link() else { return Ok(0) };
        let mut bad = ptr::null_mut();
        let answer = post(wrs, &mut bad);
        self.clear();
        checked(answer)
            .map(|()| len)
            .map_err(|errno| partly_taken(wrs as usize, bad as usize, size_of::<ibv_recv_wr>(), len, errno))
    }

    /// Hands the receives to a queue pair in one call, and forgets them.
    pub(crate) fn submit(&mut self, qp: &Qp) -> Result<usize, PartlyTaken> {
        // SAFETY: the queue pair is alive; the list is linked, ends with null and is copied before the call returns.
        self.submit_with(|wrs, bad| unsafe { ibv_post_recv(qp.raw.as_ptr(), wrs, bad) })
    }

    /// Hands the receives to a shared queue in one call, and forgets them.
    pub(crate) fn submit_shared(&mut self, srq: &Srq) -> Result<usize, PartlyTaken> {
        // SAFETY: the queue is alive; the list is linked, ends with null and is copied before the call returns.
        self.submit_with(|wrs, bad| unsafe { ibv_post_srq_recv(srq.raw.as_ptr(), wrs, bad) })
    }
}

impl fmt::Debug for RecvChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvChain({} of {})", self.len, self.wrs.len())
    }
}

/// The addresses of a network interface, IPv4 first, link-local last (`getifaddrs(3)`).
pub(crate) fn interface_addresses(interface: &str) -> Vec<IpAddr> {
    let mut list = ptr::null_mut();
    // SAFETY: `list` lives across the call, which makes a list to be freed below.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: an entry of the list, which is alive until it is freed; its name is a C string.
        let (this, name) = unsafe { (&*entry, CStr::from_ptr((*entry).ifa_name)) };
        if name.to_bytes() == interface.as_bytes() && !this.ifa_addr.is_null() {
            // SAFETY: every address begins with its family, which says what kind of address it is.
            let ip = unsafe {
                match i32::from((*this.ifa_addr).sa_family) {
                    libc::AF_INET => {
                        let v4 = &*this.ifa_addr.cast::<libc::sockaddr_in>();
                        Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr))))
                    }
                    libc::AF_INET6 => {
                        let v6 = &*this.ifa_addr.cast::<libc::sockaddr_in6>();
                        Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
                    }
                    _ => None,
                }
            };
            found.extend(ip);
        }
        entry = this.ifa_next;
    }
    // SAFETY: made by `getifaddrs`, freed once; nothing above keeps a pointer into it.
    unsafe { libc::freeifaddrs(list) };
    found.sort_by_key(|ip| match ip {
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) if !v6.is_unicast_link_local() => 1,
        IpAddr::V6(_) => 2,
    });
    found
}

/// A socket address as C wants it: IPv4 when it is one in IPv6's clothes.
struct CAddress(libc::sockaddr_storage);

impl CAddress {
    fn new(address: &SocketAddrV6) -> CAddress {
        // SAFETY: plain data, for which zeroes are valid.
        let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
        let place = &raw mut storage;
        match address.ip().to_ipv4_mapped() {
            Some(ip) => {
                // SAFETY: the storage is large and aligned enough for every kind of address; zeroes are valid.
                let v4 = unsafe { &mut *place.cast::<libc::sockaddr_in>() };
                v4.sin_family = libc::AF_INET as libc::sa_family_t;
                v4.sin_port = address.port().to_be();
                v4.sin_addr.s_addr = u32::from(ip).to_be();
            }
            None => {
                // SAFETY: as above.
                let v6 = unsafe { &mut *place.cast::<libc::sockaddr_in6>() };
                v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                v6.sin6_port = address.port().to_be();
                v6.sin6_addr.s6_addr = address.ip().octets();
            }
        }
        CAddress(storage)
    }

    fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.0).cast()
    }
}

/// Where the connection manager reports.
#[derive(Debug)]
pub(crate) struct CmChannel {
    library: &'static Rdmacm,
    raw: NonNull<rdma_event_channel>,
}

/// What the connection manager reports of one connection.
#[derive(Debug)]
pub(crate) struct CmEvent {
    /// `enum rdma_cm_event_type`.
    pub(crate) kind: u32,
    /// The number of the connection it is about; of a request, of the listener.
    pub(crate) token: usize,
    /// A request's own connection.
    pub(crate) request: Option<CmId>,
    /// What the peer sent along.
    pub(crate) data: Vec<u8>,
}

/// `RDMA_CM_EVENT_CONNECT_REQUEST`.
const CM_CONNECT_REQUEST: u32 = rdma_cm_event_type::RDMA_CM_EVENT_CONNECT_REQUEST;

impl CmChannel {
    pub(crate) fn new(library: &'static Rdmacm) -> Result<Rc<CmChannel>, i32> {
        // SAFETY: takes nothing.
        let raw = NonNull::new(unsafe { (library.create_event_channel)() }).ok_or_else(errno)?;
        let channel = CmChannel { library, raw };
        set_nonblocking(channel.fd())?;
        Ok(Rc::new(channel))
    }

    /// Becomes readable with an event.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the channel is open, and so is its descriptor for as long as it is borrowed.
        unsafe { BorrowedFd::borrow_raw((*self.raw.as_ptr()).fd) }
    }

    /// The next event, acknowledged. `None`: there is none now.
    pub(crate) fn next(self: &Rc<Self>) -> Option<CmEvent> {
        let mut event = ptr::null_mut();
        // SAFETY: the channel is open and does not block; `event` lives across the call.
        if unsafe { (self.library.get_cm_event)(self.raw.as_ptr(), &mut event) } != 0 {
            return None;
        }
        // SAFETY: the event is ours until it is acknowledged. A connection that was destroyed has none left
        // (rdma_destroy_id(3)), so both identifiers are alive.
        let (kind, id, token) = unsafe { ((*event).event, (*event).id, (*(*event).id).context as usize) };
        let is_request = kind == CM_CONNECT_REQUEST;
        let mut data = Vec::new();
        if is_request {
            // SAFETY: a request of a connected port space carries `conn`, whose data has the length it says.
            unsafe {
                let conn = &(*event).param.conn;
                if !conn.private_data.is_null() {
                    let bytes = conn.private_data.cast::<u8>();
                    data.extend_from_slice(std::slice::from_raw_parts(bytes, conn.private_data_len.into()));
                }
            }
        }
        let own = |raw| CmId { channel: Rc::clone(self), raw };
        let request = if is_request { NonNull::new(id).map(own) } else { None };
        // SAFETY: taken just now, acknowledged once, before its connection can be destroyed.
        unsafe { (self.library.ack_cm_event)(event) };
        Some(CmEvent { kind, token, request, data })
    }
}

impl Drop for CmChannel {
    fn drop(&mut self) {
        // SAFETY: made by us; its connections hold a reference and are gone.
        unsafe { (self.library.destroy_event_channel)(self.raw.as_ptr()) }
    }
}

/// What both sides of a handshake are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CmParam<'a> {
    pub(crate) qp_num: u32,
    pub(crate) max_rd_atomic: u8,
    pub(crate) max_dest_rd_atomic: u8,
    pub(crate) data: &'a [u8],
}

/// A listener, or one connection.
#[derive(Debug)]
pub(crate) struct CmId {
    channel: Rc<CmChannel>,
    raw: NonNull<rdma_cm_id>,
}

/// What the connection manager answers: 0, or -1 with errno set.
fn cm_checked(answer: c_int) -> Result<(), i32> {
    if answer == 0 { Ok(()) } else { Err(errno()) }
}

impl CmId {
    /// Makes one whose events carry `token`.
    pub(crate) fn new(channel: &Rc<CmChannel>, token: usize) -> Result<CmId, i32> {
        let mut raw = ptr::null_mut();
        let token = ptr::without_provenance_mut(token);
        // SAFETY: the channel is open and outlives the connection, which holds it; `raw` lives across the call.
        cm_checked(unsafe {
            (channel.library.create_id)(channel.raw.as_ptr(), &mut raw, token, rdma_port_space::RDMA_PS_TCP)
        })?;
        Ok(CmId { channel: Rc::clone(channel), raw: NonNull::new(raw).ok_or(libc::EIO)? })
    }

    /// From now on its events carry this token.
    pub(crate) fn set_token(&self, token: usize) {
        // SAFETY: the connection is alive, and its context is the user's to set (rdma_create_id(3)).
        unsafe { (*self.raw.as_ptr()).context = ptr::without_provenance_mut(token) }
    }

    /// Listens on an address; answers its port.
    pub(crate) fn listen(&self, at: &SocketAddrV6, backlog: i32) -> Result<u16, i32> {
        let (library, mut at) = (self.channel.library, CAddress::new(at));
        // SAFETY: the connection is alive and the address lives across the call, which copies it.
        cm_checked(unsafe { (library.bind_addr)(self.raw.as_ptr(), at.as_mut_ptr()) })?;
        // SAFETY: the connection is alive.
        cm_checked(unsafe { (library.listen)(self.raw.as_ptr(), backlog) })?;
        // SAFETY: the connection is alive.
        Ok(u16::from_be(unsafe { (library.get_src_port)(self.raw.as_ptr()) }))
    }

    /// Begins to look for the way to an address.
    pub(crate) fn resolve_addr(&self, from: &SocketAddrV6, to: &SocketAddrV6, ms: i32) -> Result<(), i32> {
        let (mut from, mut to) = (CAddress::new(from), CAddress::new(to));
        let resolve = self.channel.library.resolve_addr;
        // SAFETY: the connection is alive and the addresses live across the call, which copies them.
        cm_checked(unsafe { resolve(self.raw.as_ptr(), from.as_mut_ptr(), to.as_mut_ptr(), ms) })
    }

    /// Goes on when the address was found.
    pub(crate) fn resolve_route(&self, ms: i32) -> Result<(), i32> {
        // SAFETY: the connection is alive; its address is resolved, so that it has a device.
        cm_checked(unsafe { (self.channel.library.resolve_route)(self.raw.as_ptr(), ms) })
    }

    fn with_param(
        &self,
        call: unsafe extern "C" fn(*mut rdma_cm_id, *mut rdma_conn_param) -> c_int,
        param: &CmParam<'_>,
    ) -> Result<(), i32> {
        let mut param = rdma_conn_param {
            private_data: param.data.as_ptr().cast(),
            private_data_len: u8::try_from(param.data.len()).map_err(|_| libc::EINVAL)?,
            responder_resources: param.max_dest_rd_atomic,
            initiator_depth: param.max_rd_atomic,
            flow_control: 0,
            retry_count: 7,
            rnr_retry_count: 7,
            srq: 0,
            qp_num: param.qp_num,
        };
        // SAFETY: the connection is alive and has no queue pair of the library's, so that the number given is used
        // (librdmacm/cma.c); parameters and data live across the call, which copies them.
        cm_checked(unsafe { call(self.raw.as_ptr(), &mut param) })
    }

    /// Asks the peer. The queue pair is the device's to move.
    pub(crate) fn connect(&self, param: &CmParam<'_>) -> Result<(), i32> {
        self.with_param(self.channel.library.connect, param)
    }

    /// Answers a request with yes.
    pub(crate) fn accept(&self, param: &CmParam<'_>) -> Result<(), i32> {
        self.with_param(self.channel.library.accept, param)
    }

    /// Answers a request with no.
    pub(crate) fn reject(self) {
        // SAFETY: the connection is alive, and nothing is sent along.
        unsafe { (self.channel.library.reject)(self.raw.as_ptr(), ptr::null(), 0) };
    }
}

impl Drop for CmId {
    fn drop(&mut self) {
        // SAFETY: made by us or handed to us, destroyed once; its events are acknowledged, for which the call would wait.
        unsafe { (self.channel.library.destroy_id)(self.raw.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    library! {
        /// A library that nobody has.
        Nobodys from "libibverbs-that-nobody-has.so.1";
        fn open = "nobody_open" () -> c_int;
        optional
    }

    library! {
        /// A library that everybody has, without this function.
        Stranger from "libc.so.6";
        fn open = "ibv_open_device" () -> c_int;
        optional
    }

    #[test]
    fn a_library_that_is_not_there_or_not_what_it_seems_is_an_error_not_a_crash() {
        let absent = Nobodys::get().map(|n| n.open as usize).expect_err("nobody has it");
        assert_eq!(absent.library, "libibverbs-that-nobody-has.so.1");
        assert!(absent.why.contains("No such file"), "{}", absent.why);
        let stranger = Stranger::get().map(|s| s.open as usize).expect_err("no such function");
        assert!(stranger.why.contains("ibv_open_device"), "{}", stranger.why);
    }

    #[test]
    fn answers_of_all_three_fashions_are_understood() {
        assert_eq!(checked(0), Ok(()));
        assert_eq!(checked(libc::ENOMEM), Err(libc::ENOMEM));
        assert_eq!(checked(-libc::EINVAL), Err(libc::EINVAL));
        assert_eq!(checked(i32::MIN), Err(i32::MAX));
    }

    #[test]
    fn a_bad_work_outside_the_chain_means_that_none_was_taken() {
        let taken = |bad| partly_taken(1000, bad, 100, 5, 22).taken;
        assert_eq!([taken(1000), taken(1200), taken(1400)], [0, 2, 4]);
        assert_eq!([taken(0), taken(1500), taken(usize::MAX)], [0, 0, 0]);
    }

    #[test]
    fn chains_count_works_not_requests() {
        let mut chain = SendChain::new(4, 8, 16);
        let work = SendWork { wr_id: 1, verb: Verb::Send { imm: None }, signalled: true, fence: false };
        assert!(chain.fits(3, 16) && !chain.fits(8, 0) && !chain.fits(1, 17));
        chain.push_inline(&work, b"abc");
        chain.push_more(&work, std::iter::empty());
        chain.push(&work, std::iter::empty());
        assert_eq!(chain.works(), 2);
        assert!(!chain.fits(0, 0), "a work may need two");
        chain.clear();
        assert_eq!(chain.works(), 0);
    }

    #[test]
    fn the_loopback_interface_has_its_address() {
        let found = interface_addresses("lo");
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
        assert!(interface_addresses("no-such-interface").is_empty());
    }
}
