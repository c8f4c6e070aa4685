//! Everything that speaks to UCX, and the only file of this crate that may say `unsafe`.
//!
//! Every type here names a UCX object and frees it when it is dropped. A worker is used by one thread at a time: its owner keeps
//! it behind a lock (`UCS_THREAD_MODE_SERIALIZED`). What UCX says comes out as [`Event`]s and [`Arrival`]s, never as a call back
//! into whoever called.
//!
//! A [`Span`] is memory that an operation uses until its event came: whoever starts one keeps the memory in place until then.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_void};
use std::fmt;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{NonNull, null, null_mut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wavetank_contract::error::AllocError;
use wavetank_contract::{Region, RegionSpec};

#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    rust_2018_idioms,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::missing_safety_doc,
    unused
)]
mod raw {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

/// What UCX answers: `ucs_status_t` of `ucs/type/status.h`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct UcsStatus(pub(crate) i8);

impl UcsStatus {
    pub(crate) const OK: UcsStatus = UcsStatus(raw::UCS_OK);
    pub(crate) const NO_RESOURCE: UcsStatus = UcsStatus(raw::UCS_ERR_NO_RESOURCE);
    pub(crate) const UNREACHABLE: UcsStatus = UcsStatus(raw::UCS_ERR_UNREACHABLE);
    pub(crate) const INVALID_ADDR: UcsStatus = UcsStatus(raw::UCS_ERR_INVALID_ADDR);
    pub(crate) const INVALID_PARAM: UcsStatus = UcsStatus(raw::UCS_ERR_INVALID_PARAM);
    pub(crate) const CONNECTION_RESET: UcsStatus = UcsStatus(raw::UCS_ERR_CONNECTION_RESET);
    pub(crate) const TIMED_OUT: UcsStatus = UcsStatus(raw::UCS_ERR_TIMED_OUT);
    pub(crate) const NO_MEMORY: UcsStatus = UcsStatus(raw::UCS_ERR_NO_MEMORY);
    pub(crate) const BUSY: UcsStatus = UcsStatus(raw::UCS_ERR_BUSY);

    /// In UCX's own words.
    pub(crate) fn text(self, library: &Library) -> String {
        // SAFETY: the function answers every number with a static string.
        let text = unsafe { CStr::from_ptr(library.0.ucs_status_string(self.0)) };
        format!("{} ({})", text.to_string_lossy(), self.0)
    }

    fn check(self) -> Result<(), UcsStatus> {
        if self == UcsStatus::OK { Ok(()) } else { Err(self) }
    }
}

impl fmt::Debug for UcsStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ucs_status_t({})", self.0)
    }
}

/// libucp, loaded.
pub(crate) struct Library(raw::Functions);

/// The library's file name.
pub(crate) const LIBRARY: &str = "libucp.so.0";

impl Library {
    /// Loads it, once per name. It stays for as long as the process: UCX's own threads and hooks may.
    ///
    /// # Errors
    /// What the loader said: absent, or without a function that is needed.
    pub(crate) fn load(path: Option<&OsStr>) -> Result<&'static Library, String> {
        static LOADED: Mutex<BTreeMap<OsString, &'static Library>> = Mutex::new(BTreeMap::new());
        let path = path.unwrap_or(OsStr::new(LIBRARY));
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = loaded.get(path) {
            return Ok(library);
        }
        // SAFETY: libucp's constructors read the environment and install hooks, which they are made for.
        let functions = unsafe { raw::Functions::new(path) }.map_err(|error| error.to_string())?;
        let library: &'static Library = Box::leak(Box::new(Library(functions)));
        if std::env::var_os("UCX_LOG_LEVEL").is_none() {
            // It logs to stdout, where our data goes. What it would say is in the statuses it answers.
            let (name, value) = (c"LOG_LEVEL", c"fatal");
            // SAFETY: two strings that end in a NUL; a status is all that comes of it.
            unsafe { library.0.ucs_global_opts_set_value(name.as_ptr(), value.as_ptr()) };
        }
        loaded.insert(path.to_owned(), library);
        Ok(library)
    }

    /// Major, minor and patch.
    pub(crate) fn version(&self) -> (u32, u32, u32) {
        let (mut major, mut minor, mut patch) = (0, 0, 0);
        // SAFETY: three numbers to fill.
        unsafe { self.0.ucp_get_version(&mut major, &mut minor, &mut patch) };
        (major, minor, patch)
    }

    /// The version as the library writes it.
    pub(crate) fn version_text(&self) -> String {
        // SAFETY: a static string.
        let text = unsafe { CStr::from_ptr(self.0.ucp_get_version_string()) };
        text.to_string_lossy().into_owned()
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Library(UCX {})", self.version_text())
    }
}

/// Why there is no context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContextError {
    /// The environment could not be read.
    Environment(UcsStatus),
    /// A setting of ours was refused.
    Setting(String, UcsStatus),
    /// Nothing fits the settings.
    Init(UcsStatus),
}

/// `ucp_context_h`: the transports in use, and memory.
pub(crate) struct Context {
    library: &'static Library,
    raw: raw::ucp_context_h,
}

// SAFETY: `mt_workers_shared` makes UCX lock its contexts.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Opens what the settings name. `one_sided`: whether RMA and atomics are asked for.
    pub(crate) fn open(
        library: &'static Library,
        one_sided: bool,
        settings: &[(&str, String)],
    ) -> Result<Arc<Context>, ContextError> {
        let mut config = null_mut();
        // SAFETY: no prefix and no file: UCX_* of the environment.
        let read = unsafe { library.0.ucp_config_read(null(), null(), &mut config) };
        UcsStatus(read).check().map_err(ContextError::Environment)?;
        let mut modified = Ok(());
        for (name, value) in settings {
            let (Ok(key), Ok(text)) = (CString::new(*name), CString::new(value.as_str())) else { continue };
            // SAFETY: a configuration just read, and two strings.
            let status = unsafe { library.0.ucp_config_modify(config, key.as_ptr(), text.as_ptr()) };
            if let Err(status) = UcsStatus(status).check() {
                modified = Err(ContextError::Setting(format!("{name}={value}"), status));
                break;
            }
        }
        let mut context = null_mut();
        let opened = modified.and_then(|()| {
            // SAFETY: all fields are numbers and pointers for which zero is a value.
            let mut params: raw::ucp_params_t = unsafe { zeroed() };
            params.field_mask =
                u64::from(raw::UCP_PARAM_FIELD_FEATURES | raw::UCP_PARAM_FIELD_MT_WORKERS_SHARED);
            let features = raw::UCP_FEATURE_AM | raw::UCP_FEATURE_WAKEUP;
            let rma = raw::UCP_FEATURE_RMA | raw::UCP_FEATURE_AMO64;
            params.features = u64::from(if one_sided { features | rma } else { features });
            params.mt_workers_shared = 1;
            let (major, minor) = (raw::UCP_API_MAJOR, raw::UCP_API_MINOR);
            // SAFETY: parameters and configuration as just made.
            let status = unsafe { library.0.ucp_init_version(major, minor, &params, config, &mut context) };
            UcsStatus(status).check().map_err(ContextError::Init)
        });
        // SAFETY: it was read above and is not used again.
        unsafe { library.0.ucp_config_release(config) };
        opened.map(|()| Arc::new(Context { library, raw: context }))
    }

    pub(crate) fn library(&self) -> &'static Library {
        self.library
    }

    /// Memory of UCX's own, as one-sided shared memory needs it.
    fn allocate(self: &Arc<Context>, bytes: usize) -> Result<Mem, UcsStatus> {
        self.map(null_mut(), bytes, raw::UCP_MEM_MAP_ALLOCATE)
    }

    /// A region of UCX's own memory.
    ///
    /// # Errors
    /// Limits first, then UCX's.
    pub(crate) fn allocate_region(
        self: &Arc<Context>,
        spec: &RegionSpec,
    ) -> Result<(Region, Arc<Mem>), AllocError> {
        let bytes = spec.rounded_bytes()?;
        let none = || AllocError::OutOfMemory(bytes);
        let mem = Arc::new(self.allocate(usize::try_from(bytes).map_err(|_| none())?).map_err(|_| none())?);
        let base = NonNull::new(mem.base).ok_or_else(none)?;
        // SAFETY: UCX mapped at least that many bytes, page-aligned as every mapping is, and keeps them until `mem` is dropped.
        let region = unsafe { Region::adopt(base, spec, Box::new(mem.clone())) }?;
        Ok((region, mem))
    }

    /// Registers memory that is there already. The caller keeps the region until the registration is dropped.
    pub(crate) fn register(self: &Arc<Context>, region: &Region) -> Result<Arc<Mem>, UcsStatus> {
        let bytes = usize::try_from(region.len()).map_err(|_| UcsStatus::NO_MEMORY)?;
        self.map(region.base().as_ptr(), bytes, 0).map(Arc::new)
    }

    fn map(self: &Arc<Context>, address: *mut u8, bytes: usize, flags: u32) -> Result<Mem, UcsStatus> {
        // SAFETY: zero is a value for every field.
        let mut params: raw::ucp_mem_map_params_t = unsafe { zeroed() };
        params.field_mask =
            u64::from(raw::UCP_MEM_MAP_PARAM_FIELD_LENGTH | raw::UCP_MEM_MAP_PARAM_FIELD_FLAGS);
        if !address.is_null() {
            params.field_mask |= u64::from(raw::UCP_MEM_MAP_PARAM_FIELD_ADDRESS);
        }
        params.address = address.cast();
        params.length = bytes;
        params.flags = flags;
        let mut memh = null_mut();
        // SAFETY: the context is alive; the range is a region's, or UCX's to allocate.
        UcsStatus(unsafe { self.library.0.ucp_mem_map(self.raw, &params, &mut memh) }).check()?;
        let mut mem = Mem { context: self.clone(), raw: memh, base: address };
        // SAFETY: as above.
        let mut attr: raw::ucp_mem_attr_t = unsafe { zeroed() };
        attr.field_mask = u64::from(raw::UCP_MEM_ATTR_FIELD_ADDRESS);
        // SAFETY: a handle just made, an attribute to fill.
        UcsStatus(unsafe { self.library.0.ucp_mem_query(memh, &mut attr) }).check()?;
        mem.base = attr.address.cast();
        Ok(mem)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: workers and memory hold an `Arc` of us, so none is left.
        unsafe { self.library.0.ucp_cleanup(self.raw) }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

/// `ucp_mem_h`: memory that UCX knows.
pub(crate) struct Mem {
    context: Arc<Context>,
    raw: raw::ucp_mem_h,
    base: *mut u8,
}

// SAFETY: a handle and an address; the calls that take them lock the context.
unsafe impl Send for Mem {}
// SAFETY: as above.
unsafe impl Sync for Mem {}

impl Mem {
    /// What a peer unpacks to reach it.
    pub(crate) fn pack_rkey(&self) -> Result<Vec<u8>, UcsStatus> {
        let (functions, mut buffer, mut bytes) = (&self.context.library.0, null_mut(), 0);
        // SAFETY: both handles are alive.
        let packed = unsafe { functions.ucp_rkey_pack(self.context.raw, self.raw, &mut buffer, &mut bytes) };
        UcsStatus(packed).check()?;
        // SAFETY: UCX says how many bytes are there.
        let copy = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), bytes) }.to_vec();
        // SAFETY: it was packed above.
        unsafe { functions.ucp_rkey_buffer_release(buffer) };
        Ok(copy)
    }
}

impl Drop for Mem {
    fn drop(&mut self) {
        // SAFETY: whoever uses the memory holds it; nobody does any more.
        unsafe { self.context.library.0.ucp_mem_unmap(self.context.raw, self.raw) };
    }
}

impl fmt::Debug for Mem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mem")
    }
}

/// A piece of memory an operation works on (`ucp_dt_iov_t`).
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Span(raw::ucp_dt_iov_t);

// SAFETY: an address and a length; what is done with them is said where it is done.
unsafe impl Send for Span {}

impl Span {
    pub(crate) const NONE: Span = Span(raw::ucp_dt_iov { buffer: null_mut(), length: 0 });

    /// Bytes of ours that stay where they are until the operation ended: part of a slot or a frame in a box.
    pub(crate) fn of(bytes: &[u8]) -> Span {
        Span(raw::ucp_dt_iov { buffer: bytes.as_ptr().cast_mut().cast(), length: bytes.len() })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.length
    }

    /// Copies bytes in, as a device does: as many as fit.
    #[inline]
    pub(crate) fn fill(&self, from: &[u8]) {
        let len = from.len().min(self.0.length);
        // SAFETY: a span of a region, which is never lent as a slice, so `from` cannot be part of it.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.0.buffer.cast(), len) }
    }

    /// Copies between two places that may be one: devices do not care.
    #[inline]
    pub(crate) fn copy_to(&self, to: Span) {
        // SAFETY: both lie in regions, of this process or mapped from another; `copy` allows them to overlap.
        unsafe {
            std::ptr::copy(
                self.0.buffer.cast::<u8>(),
                to.0.buffer.cast::<u8>(),
                self.0.length.min(to.0.length),
            )
        };
    }

    /// Puts eight bytes in.
    pub(crate) fn put_word(&self, word: u64) {
        self.fill(&word.to_ne_bytes());
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Span({} bytes)", self.0.length)
    }
}

/// Where a registered region is. Whoever holds one keeps the region (the device's table of registrations does).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    base: *mut u8,
    len: u64,
}

// SAFETY: an address; regions do not move, and what is done with it is done under the device's lock.
unsafe impl Send for Memory {}

impl Memory {
    pub(crate) fn of(region: &Region) -> Memory {
        Memory { base: region.base().as_ptr(), len: region.len() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The address peers name it by.
    pub(crate) fn addr(&self) -> u64 {
        self.base as u64
    }

    pub(crate) fn contains(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len)
    }

    /// A part of it. `None` if not all inside.
    #[inline]
    pub(crate) fn span(&self, offset: u64, len: usize) -> Option<Span> {
        // SAFETY: inside the region, as just checked.
        let start = || unsafe { self.base.add(offset as usize) };
        self.contains(offset, len as u64)
            .then(|| Span(raw::ucp_dt_iov { buffer: start().cast(), length: len }))
    }

    /// Copies bytes in, as a device does. False, and nothing copied, if they are not all inside.
    #[inline]
    pub(crate) fn write(&self, offset: u64, from: &[u8]) -> bool {
        let Some(to) = self.span(offset, from.len()) else { return false };
        to.fill(from);
        true
    }

    fn word(&self, offset: u64) -> Option<&AtomicU64> {
        let span = self.span(offset, 8)?;
        // SAFETY: eight bytes of the region, aligned as just checked; peers on other cores use the same atomics.
        (span.0.buffer as usize)
            .is_multiple_of(8)
            .then(|| unsafe { AtomicU64::from_ptr(span.0.buffer.cast()) })
    }

    /// Atomic, also among processes that share the memory. `None` if outside or misaligned.
    pub(crate) fn fetch_add(&self, offset: u64, add: u64) -> Option<u64> {
        self.word(offset).map(|word| word.fetch_add(add, Ordering::SeqCst))
    }

    /// Atomic, also among processes that share the memory. `None` if outside or misaligned.
    pub(crate) fn compare_swap(&self, offset: u64, compare: u64, swap: u64) -> Option<u64> {
        let order = Ordering::SeqCst;
        self.word(offset).map(|word| match word.compare_exchange(compare, swap, order, order) {
            Ok(old) | Err(old) => old,
        })
    }
}

/// Something that was started has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// An operation, by the token it was started with. Its memory is free.
    Done { token: u64, status: UcsStatus },
    /// An endpoint failed, by its token. Nothing more will be carried.
    Failed { token: u64, status: UcsStatus },
    /// Somebody wants to connect to the listener.
    Knocked(Knock),
}

/// `ucp_conn_request_h`: somebody at the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knock(raw::ucp_conn_request_h);

/// A message, in the middle of a progress call.
pub(crate) struct Arrival<'a> {
    /// The endpoint here that belongs to its sender, if the sender asked for that to be told.
    pub(crate) from: Option<Sender>,
    pub(crate) header: &'a [u8],
    pub(crate) body: Body<'a>,
}

/// An endpoint by its handle, to be compared and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender(usize);

/// The data of a message.
pub(crate) enum Body<'a> {
    /// Here, and gone when the handler returns.
    Eager(&'a [u8]),
    /// To be fetched. [`Taken::Kept`] keeps the descriptor; whoever does has it received or released.
    Rendezvous(Desc),
}

impl Body<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Body::Eager(bytes) => bytes.len(),
            Body::Rendezvous(desc) => desc.len,
        }
    }
}

/// A descriptor of a message whose data was not fetched yet.
#[derive(Debug)]
pub(crate) struct Desc {
    raw: NonNull<c_void>,
    len: usize,
}

// SAFETY: a handle of the worker, used under the worker's lock.
unsafe impl Send for Desc {}

impl Desc {
    /// The same descriptor, for whoever releases it if the one it is handed to does not keep it.
    pub(crate) fn again(&self) -> Desc {
        Desc { raw: self.raw, len: self.len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// What a handler did with an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Done with it.
    Used,
    /// The descriptor of a rendezvous was kept.
    Kept,
}

/// What became of starting an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// It is done, and no event comes.
    Done,
    /// Its event comes.
    Pending,
    /// It was refused, and no event comes.
    Failed(UcsStatus),
}

type Handler<'h> = &'h mut dyn FnMut(Arrival<'_>) -> Taken;

/// A handler whose lifetime is the business of [`Worker::progress`].
type AnyHandler = dyn FnMut(Arrival<'_>) -> Taken + 'static;

/// What callbacks reach. Boxed: UCX keeps its address.
struct Inner {
    library: &'static Library,
    events: RefCell<VecDeque<Event>>,
    /// Who takes messages, for the time of one progress call.
    handler: Cell<Option<*mut AnyHandler>>,
    /// Messages that came while nobody took them, or while somebody was taking one: the transport `self` delivers inside of a send.
    stash: RefCell<VecDeque<Stashed>>,
    /// Armed, and nothing was done or started since: for how many more questions that is the answer.
    armed: Cell<u32>,
    panic: Cell<Option<Box<dyn Any + Send>>>,
    /// What failures of endpoints are told with that end with the worker.
    #[expect(clippy::vec_box, reason = "UCX holds their addresses")]
    abandoned: RefCell<Vec<Box<EpArg>>>,
}

/// A message kept.
struct Stashed {
    header: Vec<u8>,
    data: Result<Vec<u8>, Desc>,
}

impl Inner {
    fn tell(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
    }
}

/// `ucp_worker_h`: what endpoints belong to. Used by one thread at a time.
pub(crate) struct Worker {
    /// Outlives the worker.
    _context: Arc<Context>,
    raw: raw::ucp_worker_h,
    inner: Box<Inner>,
}

// SAFETY: `UCS_THREAD_MODE_SERIALIZED`: any thread may, one at a time; `&Worker` is never shared (it is not `Sync`).
unsafe impl Send for Worker {}

/// The one active-message id in use.
const AM_ID: u32 = 0x57;

/// How often a worker that is armed is not asked again. Sometimes its descriptor is readable for nothing, until it is.
const ARMED_FOR: u32 = 64;

/// Events kept without allocating.
const EVENTS: usize = 4096;

impl Worker {
    pub(crate) fn new(context: &Arc<Context>) -> Result<Worker, UcsStatus> {
        let library = context.library;
        // SAFETY: zero is a value for every field.
        let mut params: raw::ucp_worker_params_t = unsafe { zeroed() };
        params.field_mask = u64::from(raw::UCP_WORKER_PARAM_FIELD_THREAD_MODE);
        params.thread_mode = raw::UCS_THREAD_MODE_SERIALIZED;
        let mut worker = null_mut();
        // SAFETY: a live context, parameters as just made.
        UcsStatus(unsafe { library.0.ucp_worker_create(context.raw, &params, &mut worker) }).check()?;
        let inner = Box::new(Inner {
            library,
            events: RefCell::new(VecDeque::with_capacity(EVENTS)),
            handler: Cell::new(None),
            stash: RefCell::default(),
            armed: Cell::new(0),
            abandoned: RefCell::default(),
            panic: Cell::new(None),
        });
        let worker = Worker { _context: context.clone(), raw: worker, inner };
        // SAFETY: zero is a value for every field.
        let mut handler: raw::ucp_am_handler_param_t = unsafe { zeroed() };
        handler.field_mask = u64::from(
            raw::UCP_AM_HANDLER_PARAM_FIELD_ID
                | raw::UCP_AM_HANDLER_PARAM_FIELD_FLAGS
                | raw::UCP_AM_HANDLER_PARAM_FIELD_CB
                | raw::UCP_AM_HANDLER_PARAM_FIELD_ARG,
        );
        handler.id = AM_ID;
        handler.flags = raw::UCP_AM_FLAG_WHOLE_MSG;
        handler.cb = Some(on_message);
        handler.arg = worker.arg();
        // SAFETY: the box outlives the worker (see `drop`).
        let set = unsafe { library.0.ucp_worker_set_am_recv_handler(worker.raw, &handler) };
        UcsStatus(set).check().map(|()| worker)
    }

    fn arg(&self) -> *mut c_void {
        (&raw const *self.inner).cast_mut().cast()
    }

    /// Moves everything on, and hands each message to `handler`. How much was done; 0: nothing.
    #[inline]
    pub(crate) fn progress(&self, handler: Handler<'_>) -> u32 {
        let handler: *mut (dyn FnMut(Arrival<'_>) -> Taken + '_) = handler;
        // SAFETY: only the lifetime changes; the pointer is taken back before this returns.
        let handler: *mut AnyHandler = unsafe { std::mem::transmute(handler) };
        let mut stashed = 0;
        // As many as there are now: each may make more.
        let waiting = self.inner.stash.borrow().len();
        for _ in 0..waiting {
            let Some(Stashed { header, data }) = self.inner.stash.borrow_mut().pop_front() else { break };
            stashed += 1;
            // SAFETY: the handler of this call, which nobody else calls meanwhile.
            let handler = unsafe { &mut *handler };
            match data {
                Ok(bytes) => {
                    handler(Arrival { from: None, header: &header, body: Body::Eager(&bytes) });
                }
                Err(desc) => {
                    let copy = desc.again();
                    if handler(Arrival { from: None, header: &header, body: Body::Rendezvous(desc) })
                        == Taken::Used
                    {
                        self.release(copy);
                    }
                }
            }
        }
        self.inner.handler.set(Some(handler));
        // SAFETY: a live worker, not used by anybody else; callbacks do not call this again.
        let done = unsafe { self.inner.library.0.ucp_worker_progress(self.raw) };
        self.inner.handler.set(None);
        if let Some(panic) = self.inner.panic.take() {
            resume_unwind(panic);
        }
        if done + stashed > 0 {
            self.inner.armed.set(0);
        }
        done + stashed
    }

    /// Whether there are messages that nobody took yet.
    pub(crate) fn has_stash(&self) -> bool {
        !self.inner.stash.borrow().is_empty()
    }

    /// The next thing that ended.
    #[inline]
    pub(crate) fn take_event(&self) -> Option<Event> {
        self.inner.events.borrow_mut().pop_front()
    }

    /// How peers find this worker.
    pub(crate) fn address(&self) -> Result<Vec<u8>, UcsStatus> {
        // SAFETY: zero is a value for every field.
        let mut attr: raw::ucp_worker_attr_t = unsafe { zeroed() };
        attr.field_mask = u64::from(raw::UCP_WORKER_ATTR_FIELD_ADDRESS);
        let functions = &self.inner.library.0;
        // SAFETY: a live worker, an attribute to fill.
        UcsStatus(unsafe { functions.ucp_worker_query(self.raw, &mut attr) }).check()?;
        // SAFETY: UCX says how many bytes are there.
        let bytes =
            unsafe { std::slice::from_raw_parts(attr.address.cast::<u8>(), attr.address_length) }.to_vec();
        // SAFETY: it was queried above.
        unsafe { functions.ucp_worker_release_address(self.raw, attr.address) };
        Ok(bytes)
    }

    /// Becomes readable when an armed worker has something to do.
    pub(crate) fn event_fd(&self) -> Result<BorrowedFd<'_>, UcsStatus> {
        let mut fd = -1;
        // SAFETY: a live worker with the wake-up feature.
        UcsStatus(unsafe { self.inner.library.0.ucp_worker_get_efd(self.raw, &mut fd) }).check()?;
        // SAFETY: the descriptor lives as long as the worker.
        Ok(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// Asks for the descriptor to become readable. False: there is something to do already.
    pub(crate) fn arm(&self) -> Result<bool, UcsStatus> {
        let armed = self.inner.armed.get();
        if armed > 0 {
            self.inner.armed.set(armed - 1);
            return Ok(true);
        }
        // SAFETY: a live worker.
        match UcsStatus(unsafe { self.inner.library.0.ucp_worker_arm(self.raw) }) {
            UcsStatus::OK => {
                self.inner.armed.set(ARMED_FOR);
                Ok(true)
            }
            UcsStatus::BUSY => Ok(false),
            other => Err(other),
        }
    }

    /// Orders what was started before what will be.
    pub(crate) fn fence(&self) -> Result<(), UcsStatus> {
        // SAFETY: a live worker.
        UcsStatus(unsafe { self.inner.library.0.ucp_worker_fence(self.raw) }).check()
    }

    /// An endpoint to a worker somewhere. Its failure comes as an event with this token.
    pub(crate) fn connect(&self, address: &[u8], peer_errors: bool, token: u64) -> Result<Ep, UcsStatus> {
        let address = padded(address);
        self.make_ep(peer_errors, token, |params| {
            params.field_mask |= u64::from(raw::UCP_EP_PARAM_FIELD_REMOTE_ADDRESS);
            params.address = address.as_ptr().cast();
        })
    }

    /// An endpoint to a listener somewhere.
    pub(crate) fn connect_to(&self, at: SocketAddr, token: u64) -> Result<Ep, UcsStatus> {
        let address = SockAddr::from(at);
        self.make_ep(true, token, |params| {
            params.field_mask |= u64::from(raw::UCP_EP_PARAM_FIELD_SOCK_ADDR | raw::UCP_EP_PARAM_FIELD_FLAGS);
            params.flags = raw::UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
            params.sockaddr = address.raw();
        })
    }

    /// The endpoint of somebody who knocked.
    pub(crate) fn accept(&self, knock: Knock, token: u64) -> Result<Ep, UcsStatus> {
        self.make_ep(true, token, |params| {
            params.field_mask |= u64::from(raw::UCP_EP_PARAM_FIELD_CONN_REQUEST);
            params.conn_request = knock.0;
        })
    }

    fn make_ep(
        &self,
        peer_errors: bool,
        token: u64,
        fill: impl FnOnce(&mut raw::ucp_ep_params_t),
    ) -> Result<Ep, UcsStatus> {
        let arg = Box::new(EpArg { inner: &raw const *self.inner, token });
        // SAFETY: zero is a value for every field.
        let mut params: raw::ucp_ep_params_t = unsafe { zeroed() };
        params.field_mask =
            u64::from(raw::UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | raw::UCP_EP_PARAM_FIELD_ERR_HANDLER);
        params.err_mode =
            if peer_errors { raw::UCP_ERR_HANDLING_MODE_PEER } else { raw::UCP_ERR_HANDLING_MODE_NONE };
        params.err_handler.cb = Some(on_failure);
        params.err_handler.arg = (&raw const *arg).cast_mut().cast();
        fill(&mut params);
        let mut ep = null_mut();
        // SAFETY: what `fill` points to lives until this returns; `arg` as long as the endpoint (see `Ep::close`).
        UcsStatus(unsafe { self.inner.library.0.ucp_ep_create(self.raw, &params, &mut ep) }).check()?;
        Ok(Ep { raw: ep, arg })
    }

    /// Begins to close an endpoint. `force`: whatever is under way ends at once, as cancelled.
    pub(crate) fn close(&self, ep: Ep, force: bool) -> Closing {
        let mut param = request_param();
        param.op_attr_mask = raw::UCP_OP_ATTR_FIELD_FLAGS;
        param.flags = if force { raw::UCP_EP_CLOSE_FLAG_FORCE } else { 0 };
        // SAFETY: a live endpoint of this worker, not used again.
        let request = unsafe { self.inner.library.0.ucp_ep_close_nbx(ep.raw, &param) };
        let request = if is_error(request) { null_mut() } else { request };
        Closing { request, arg: ep.arg }
    }

    /// Whether an endpoint is closed. True once; its request is given back then.
    pub(crate) fn is_closed(&self, closing: &mut Closing) -> bool {
        if closing.request.is_null() {
            return true;
        }
        let functions = &self.inner.library.0;
        // SAFETY: a request that was not freed yet.
        if unsafe { functions.ucp_request_check_status(closing.request) } == raw::UCS_INPROGRESS {
            return false;
        }
        // SAFETY: as above.
        unsafe { functions.ucp_request_free(closing.request) };
        closing.request = null_mut();
        true
    }

    /// A ticket for operations of this worker, which end as this token.
    pub(crate) fn ticket(&self, token: u64) -> Ticket {
        Ticket { inner: &raw const *self.inner, token }
    }

    /// Waits no longer for an endpoint to be closed: it ends with the worker.
    pub(crate) fn abandon(&self, closing: Closing) {
        if !closing.request.is_null() {
            // SAFETY: a request that was not freed yet; UCX lets go of it when it is complete.
            unsafe { self.inner.library.0.ucp_request_free(closing.request) };
        }
        self.inner.abandoned.borrow_mut().push(closing.arg);
    }

    /// Sends a message. Header, data and ticket stay where they are until it is done.
    #[inline]
    pub(crate) fn send(
        &self,
        ep: &Ep,
        header: &[u8],
        data: &[Span],
        flags: SendAs,
        ticket: &Ticket,
    ) -> Started {
        let mut param = with_ticket(ticket);
        param.op_attr_mask |= raw::UCP_OP_ATTR_FIELD_FLAGS;
        param.flags = match flags {
            SendAs::Auto => 0,
            SendAs::Eager => raw::UCP_AM_SEND_FLAG_EAGER,
            SendAs::EagerWithSender => raw::UCP_AM_SEND_FLAG_EAGER | raw::UCP_AM_SEND_FLAG_REPLY,
            SendAs::Rendezvous => raw::UCP_AM_SEND_FLAG_RNDV,
        };
        self.inner.armed.set(0);
        let (buffer, count) = describe(data, &mut param);
        // SAFETY: header and spans stay until the event (the caller's promise); the endpoint is alive.
        let request = unsafe {
            self.inner.library.0.ucp_am_send_nbx(
                ep.raw,
                AM_ID,
                header.as_ptr().cast(),
                header.len(),
                buffer,
                count,
                &param,
            )
        };
        started(request)
    }

    /// Fetches the data of a message into memory that stays where it is until it is done.
    pub(crate) fn receive(&self, desc: Desc, into: &[Span], ticket: &Ticket) -> Started {
        let mut param = with_ticket(ticket);
        param.cb.recv_am = Some(on_received);
        let (buffer, count) = describe(into, &mut param);
        // SAFETY: the descriptor was kept and is used once; the spans stay until the event (the caller's promise).
        let request = unsafe {
            self.inner.library.0.ucp_am_recv_data_nbx(
                self.raw,
                desc.raw.as_ptr(),
                buffer.cast_mut(),
                count,
                &param,
            )
        };
        started(request)
    }

    /// Lets the data of a message go.
    pub(crate) fn release(&self, desc: Desc) {
        // SAFETY: the descriptor was kept and is not used again.
        unsafe { self.inner.library.0.ucp_am_data_release(self.raw, desc.raw.as_ptr()) }
    }

    /// Copies to a peer. Done means that the local memory is free.
    #[inline]
    pub(crate) fn put(&self, ep: &Ep, from: Span, to: u64, rkey: &Rkey, ticket: &Ticket) -> Started {
        self.inner.armed.set(0);
        let param = with_ticket(ticket);
        // SAFETY: the span stays until the event; the key was unpacked on this endpoint and the range checked by the caller.
        started(unsafe {
            self.inner.library.0.ucp_put_nbx(ep.raw, from.0.buffer, from.0.length, to, rkey.raw, &param)
        })
    }

    /// Copies from a peer.
    #[inline]
    pub(crate) fn get(&self, ep: &Ep, into: Span, from: u64, rkey: &Rkey, ticket: &Ticket) -> Started {
        self.inner.armed.set(0);
        let param = with_ticket(ticket);
        // SAFETY: as for `put`.
        started(unsafe {
            self.inner.library.0.ucp_get_nbx(ep.raw, into.0.buffer, into.0.length, from, rkey.raw, &param)
        })
    }

    /// Adds to 8 bytes of a peer; the former value lands in `result` (8 bytes).
    pub(crate) fn fetch_add(
        &self,
        ep: &Ep,
        add: &u64,
        result: Span,
        at: u64,
        rkey: &Rkey,
        ticket: &Ticket,
    ) -> Started {
        self.atomic(ep, raw::UCP_ATOMIC_OP_ADD, add, result, at, rkey, ticket)
    }

    /// Swaps 8 bytes of a peer if they equal `compare`. `result` holds the new value, and then the former one.
    pub(crate) fn compare_swap(
        &self,
        ep: &Ep,
        compare: &u64,
        result: Span,
        at: u64,
        rkey: &Rkey,
        ticket: &Ticket,
    ) -> Started {
        self.atomic(ep, raw::UCP_ATOMIC_OP_CSWAP, compare, result, at, rkey, ticket)
    }

    #[expect(clippy::too_many_arguments, reason = "as many as ucp_atomic_op_nbx has")]
    fn atomic(
        &self,
        ep: &Ep,
        op: raw::ucp_atomic_op_t,
        operand: &u64,
        result: Span,
        at: u64,
        rkey: &Rkey,
        ticket: &Ticket,
    ) -> Started {
        self.inner.armed.set(0);
        let mut param = with_ticket(ticket);
        param.op_attr_mask |= raw::UCP_OP_ATTR_FIELD_DATATYPE | raw::UCP_OP_ATTR_FIELD_REPLY_BUFFER;
        param.datatype = contiguous(8);
        param.reply_buffer = result.0.buffer;
        let operand = (&raw const *operand).cast();
        // SAFETY: operand and result stay until the event (the caller's promise); 8 bytes each.
        started(unsafe {
            self.inner.library.0.ucp_atomic_op_nbx(ep.raw, op, operand, 1, at, rkey.raw, &param)
        })
    }

    /// Done when everything started before is placed at the peer.
    pub(crate) fn flush(&self, ep: &Ep, ticket: &Ticket) -> Started {
        self.inner.armed.set(0);
        let param = with_ticket(ticket);
        // SAFETY: a live endpoint.
        started(unsafe { self.inner.library.0.ucp_ep_flush_nbx(ep.raw, &param) })
    }

    /// Makes a peer's key usable on an endpoint.
    pub(crate) fn unpack(&self, ep: &Ep, packed: &[u8]) -> Result<Rkey, UcsStatus> {
        let (library, mut rkey) = (self.inner.library, null_mut());
        let packed = padded(packed);
        // SAFETY: bytes that a worker packed, or such as look like it: the caller looked through them (`packed.rs`).
        let unpacked = unsafe { library.0.ucp_ep_rkey_unpack(ep.raw, packed.as_ptr().cast(), &mut rkey) };
        UcsStatus(unpacked).check()?;
        Ok(Rkey { library, raw: rkey })
    }

    /// What the endpoint goes over, as UCX prints it.
    pub(crate) fn describe(&self, ep: &Ep) -> String {
        let (mut text, mut bytes) = (null_mut::<c_char>(), 0usize);
        // SAFETY: a stream into memory that is made here, closed before it is read, and freed.
        unsafe {
            let stream = libc::open_memstream(&mut text, &mut bytes);
            if stream.is_null() {
                return String::new();
            }
            self.inner.library.0.ucp_ep_print_info(ep.raw, stream.cast());
            libc::fclose(stream);
            let copy = String::from_utf8_lossy(std::slice::from_raw_parts(text.cast::<u8>(), bytes));
            let copy = copy.into_owned();
            libc::free(text.cast());
            copy
        }
    }

    /// Listens on an address of this machine.
    pub(crate) fn listen(&self, on: SocketAddr) -> Result<Listener, UcsStatus> {
        let address = SockAddr::from(on);
        // SAFETY: zero is a value for every field.
        let mut params: raw::ucp_listener_params_t = unsafe { zeroed() };
        params.field_mask =
            u64::from(raw::UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | raw::UCP_LISTENER_PARAM_FIELD_CONN_HANDLER);
        params.sockaddr = address.raw();
        params.conn_handler.cb = Some(on_knock);
        params.conn_handler.arg = self.arg();
        let (library, mut listener) = (self.inner.library, null_mut());
        // SAFETY: a live worker; the address lives until this returns, the box as long as the worker.
        UcsStatus(unsafe { library.0.ucp_listener_create(self.raw, &params, &mut listener) }).check()?;
        Ok(Listener { library, raw: listener })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // SAFETY: its owner closed every endpoint, or leaves what is left of them to UCX; `inner` is freed after this.
        unsafe { self.inner.library.0.ucp_worker_destroy(self.raw) }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendAs {
    /// As UCX thinks best.
    Auto,
    /// With the message.
    Eager,
    /// Told first, fetched by the receiver.
    Rendezvous,
    /// With the message, and the receiver is told which of its endpoints it came by.
    EagerWithSender,
}

/// What an operation is started with and its event named by. Stays where it is until the event came.
pub(crate) struct Ticket {
    inner: *const Inner,
    token: u64,
}

// SAFETY: looked at by callbacks only, which run under the worker's lock.
unsafe impl Send for Ticket {}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({:#x})", self.token)
    }
}

struct EpArg {
    inner: *const Inner,
    token: u64,
}

/// `ucp_ep_h`. Ended by [`Worker::close`]; one that is dropped instead ends with its worker.
pub(crate) struct Ep {
    raw: raw::ucp_ep_h,
    arg: Box<EpArg>,
}

// SAFETY: a handle of the worker, used under the worker's lock.
unsafe impl Send for Ep {}

impl Ep {
    /// Whether a message came by it.
    pub(crate) fn is(&self, from: Sender) -> bool {
        self.raw as usize == from.0
    }

    /// Its failure is told with another token from now on.
    pub(crate) fn set_token(&mut self, token: u64) {
        self.arg.token = token;
    }
}

impl fmt::Debug for Ep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ep({:#x})", self.arg.token)
    }
}

/// An endpoint that is being closed.
pub(crate) struct Closing {
    request: *mut c_void,
    /// Failures may still be told until it is closed.
    arg: Box<EpArg>,
}

// SAFETY: a handle of the worker, used under the worker's lock.
unsafe impl Send for Closing {}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closing")
    }
}

/// `ucp_rkey_h`: a peer's memory, on one endpoint. Dropped before its endpoint is closed.
pub(crate) struct Rkey {
    library: &'static Library,
    raw: raw::ucp_rkey_h,
}

// SAFETY: a handle of the worker, used under the worker's lock.
unsafe impl Send for Rkey {}

impl Rkey {
    /// Words of a peer's memory as this process sees them, where it can. They stay as long as the key.
    pub(crate) fn words(&self, addr: u64, count: usize) -> Option<SharedWords> {
        let mut pointer = null_mut();
        // SAFETY: a live key.
        UcsStatus(unsafe { self.library.0.ucp_rkey_ptr(self.raw, addr, &mut pointer) }).check().ok()?;
        let aligned = (pointer as usize).is_multiple_of(align_of::<AtomicU32>());
        NonNull::new(pointer.cast::<AtomicU32>())
            .filter(|_| aligned)
            .map(|words| SharedWords { words, count })
    }
}

impl Rkey {
    /// Memory of a peer as this process sees it, where it can (ucp_rkey_ptr). The range was checked against the key by the caller, and
    /// the mapping stays as long as the key.
    #[inline]
    pub(crate) fn mapped(&self, addr: u64, len: u64) -> Option<Memory> {
        let mut pointer = null_mut();
        // SAFETY: a live key.
        UcsStatus(unsafe { self.library.0.ucp_rkey_ptr(self.raw, addr, &mut pointer) }).check().ok()?;
        (!pointer.is_null()).then(|| Memory { base: pointer.cast(), len })
    }
}

impl Drop for Rkey {
    fn drop(&mut self) {
        // SAFETY: it was unpacked and is not used again.
        unsafe { self.library.0.ucp_rkey_destroy(self.raw) }
    }
}

impl fmt::Debug for Rkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rkey")
    }
}

/// Words in memory that several processes map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedWords {
    words: NonNull<AtomicU32>,
    count: usize,
}

// SAFETY: atomics; whoever holds this holds the mapping (a key, or the memory itself).
unsafe impl Send for SharedWords {}

impl SharedWords {
    /// All of a region of ours, which is kept.
    pub(crate) fn of(memory: &Memory) -> SharedWords {
        let words = NonNull::new(memory.base.cast::<AtomicU32>()).unwrap_or(NonNull::dangling());
        SharedWords { words, count: (memory.len / 4) as usize }
    }

    /// One of them; 0 beyond the last.
    #[inline]
    pub(crate) fn load(&self, index: usize) -> u32 {
        if index >= self.count {
            return 0;
        }
        // SAFETY: inside the mapping, aligned, alive (see the type).
        unsafe { self.words.add(index).as_ref() }.load(Ordering::Acquire)
    }

    pub(crate) fn store(&self, index: usize, value: u32) {
        if index < self.count {
            // SAFETY: as above.
            unsafe { self.words.add(index).as_ref() }.store(value, Ordering::Release);
        }
    }

    /// Says in a word that what follows is under way. Whoever takes something away and then looks at the word sees it, or what follows
    /// sees that it is gone.
    #[inline]
    pub(crate) fn enter(&self, index: usize) {
        if index < self.count {
            // SAFETY: as above.
            unsafe { self.words.add(index).as_ref() }.store(1, Ordering::SeqCst);
            std::sync::atomic::fence(Ordering::SeqCst);
        }
    }

    /// Makes a robust mutex of the words from `index` on and locks it by this thread, until it unlocks it or dies. The kernel marks
    /// the first word when the thread is gone, whatever killed it (`FUTEX_OWNER_DIED`, set_robust_list(2)).
    pub(crate) fn lock_for_life(&self, index: usize) -> bool {
        const WORDS: usize = size_of::<libc::pthread_mutex_t>().div_ceil(4);
        if index.checked_add(WORDS).is_none_or(|end| end > self.count) || !index.is_multiple_of(2) {
            return false;
        }
        // SAFETY: the words are ours, inside and aligned to 8 bytes, and stay until the thread has unlocked them.
        unsafe {
            let mutex = self.words.add(index).as_ptr().cast::<libc::pthread_mutex_t>();
            let mut attr = zeroed::<libc::pthread_mutexattr_t>();
            libc::pthread_mutexattr_init(&mut attr) == 0
                && libc::pthread_mutexattr_setpshared(&mut attr, libc::PTHREAD_PROCESS_SHARED) == 0
                && libc::pthread_mutexattr_setrobust(&mut attr, libc::PTHREAD_MUTEX_ROBUST) == 0
                && libc::pthread_mutex_init(mutex, &attr) == 0
                && libc::pthread_mutexattr_destroy(&mut attr) == 0
                && libc::pthread_mutex_lock(mutex) == 0
        }
    }

    /// Ends [`lock_for_life`](Self::lock_for_life), on the same thread.
    pub(crate) fn unlock(&self, index: usize) {
        // SAFETY: locked by this thread.
        unsafe { libc::pthread_mutex_unlock(self.words.add(index).as_ptr().cast()) };
    }

    /// Whether the thread that locked for life still lives.
    #[inline]
    pub(crate) fn is_alive(&self, index: usize) -> bool {
        let word = self.load(index);
        word & libc::FUTEX_TID_MASK != 0 && word & libc::FUTEX_OWNER_DIED == 0
    }
}

/// `ucp_listener_h`.
pub(crate) struct Listener {
    library: &'static Library,
    raw: raw::ucp_listener_h,
}

// SAFETY: a handle of the worker, used under the worker's lock.
unsafe impl Send for Listener {}

impl Listener {
    /// Where it listens: the port the system chose.
    pub(crate) fn port(&self) -> Result<u16, UcsStatus> {
        // SAFETY: zero is a value for every field.
        let mut attr: raw::ucp_listener_attr_t = unsafe { zeroed() };
        attr.field_mask = u64::from(raw::UCP_LISTENER_ATTR_FIELD_SOCKADDR);
        // SAFETY: a live listener, an attribute to fill.
        UcsStatus(unsafe { self.library.0.ucp_listener_query(self.raw, &mut attr) }).check()?;
        // IPv4 and IPv6 have the port in the same place, bytes 2 and 3 (`sockaddr_in(7)`, `sockaddr_in6(7)`).
        // SAFETY: a socket address is longer than that.
        let port = unsafe { *(&raw const attr.sockaddr).cast::<[u8; 4]>() };
        Ok(u16::from_be_bytes([port[2], port[3]]))
    }

    /// Sends somebody away.
    pub(crate) fn reject(&self, knock: Knock) {
        // SAFETY: a request that was not answered yet.
        unsafe { self.library.0.ucp_listener_reject(self.raw, knock.0) };
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // SAFETY: it is not used again.
        unsafe { self.library.0.ucp_listener_destroy(self.raw) }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// A socket address as C wants it.
enum SockAddr {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl SockAddr {
    fn raw(&self) -> raw::ucs_sock_addr_t {
        let (addr, len): (*const c_void, usize) = match self {
            SockAddr::V4(v4) => ((&raw const *v4).cast(), size_of::<libc::sockaddr_in>()),
            SockAddr::V6(v6) => ((&raw const *v6).cast(), size_of::<libc::sockaddr_in6>()),
        };
        raw::ucs_sock_addr_t { addr: addr.cast(), addrlen: len as _ }
    }
}

impl From<SocketAddr> for SockAddr {
    fn from(address: SocketAddr) -> SockAddr {
        match address {
            SocketAddr::V4(v4) => {
                // SAFETY: zero is a value for every field.
                let mut raw: libc::sockaddr_in = unsafe { zeroed() };
                raw.sin_family = libc::AF_INET as libc::sa_family_t;
                raw.sin_port = v4.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                SockAddr::V4(raw)
            }
            SocketAddr::V6(v6) => {
                // SAFETY: zero is a value for every field.
                let mut raw: libc::sockaddr_in6 = unsafe { zeroed() };
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = v6.port().to_be();
                raw.sin6_addr.s6_addr = v6.ip().octets();
                raw.sin6_scope_id = v6.scope_id();
                SockAddr::V6(raw)
            }
        }
    }
}

/// Bytes of a peer, which UCX is told no length of: should a number among them send it a little beyond the end, it finds zeroes.
fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = Vec::with_capacity(bytes.len() + PADDING_BYTES);
    padded.extend_from_slice(bytes);
    padded.resize(bytes.len() + PADDING_BYTES, 0);
    padded
}

/// More than any one length in a blob can name.
const PADDING_BYTES: usize = 512;

fn request_param() -> raw::ucp_request_param_t {
    // SAFETY: zero is a value for every field, and `op_attr_mask` says which count.
    unsafe { zeroed() }
}

#[inline]
fn with_ticket(ticket: &Ticket) -> raw::ucp_request_param_t {
    let mut param = request_param();
    param.op_attr_mask = raw::UCP_OP_ATTR_FIELD_CALLBACK | raw::UCP_OP_ATTR_FIELD_USER_DATA;
    param.cb.send = Some(on_done);
    param.user_data = (&raw const *ticket).cast_mut().cast();
    param
}

/// `ucp_dt_make_contig(elements of this many bytes)`, a macro in C.
const fn contiguous(element_bytes: u64) -> u64 {
    (element_bytes << raw::UCP_DATATYPE_SHIFT) | raw::UCP_DATATYPE_CONTIG as u64
}

/// Buffer, count and datatype of memory in pieces.
#[inline]
fn describe(spans: &[Span], param: &mut raw::ucp_request_param_t) -> (*const c_void, usize) {
    match spans {
        [] => (null(), 0),
        [one] => (one.0.buffer, one.0.length),
        many => {
            param.op_attr_mask |= raw::UCP_OP_ATTR_FIELD_DATATYPE;
            // `ucp_dt_make_iov()`, a macro in C.
            param.datatype = raw::UCP_DATATYPE_IOV as u64;
            (many.as_ptr().cast(), many.len())
        }
    }
}

/// `UCS_PTR_IS_ERR`, a macro in C: the last hundred addresses are statuses.
#[inline]
fn is_error(request: *mut c_void) -> bool {
    request as usize >= raw::UCS_ERR_LAST as isize as usize
}

#[inline]
fn started(request: *mut c_void) -> Started {
    match request {
        none if none.is_null() => Started::Done,
        error if is_error(error) => Started::Failed(UcsStatus(error as usize as i8)),
        _ => Started::Pending,
    }
}

extern "C" fn on_done(request: *mut c_void, status: raw::ucs_status_t, user_data: *mut c_void) {
    // SAFETY: `user_data` is the ticket the operation was started with, which stays until now; the worker is alive, since it calls.
    unsafe {
        let Ticket { inner, token } = &*user_data.cast::<Ticket>();
        let inner = &**inner;
        inner.tell(Event::Done { token: *token, status: UcsStatus(status) });
        inner.library.0.ucp_request_free(request);
    }
}

extern "C" fn on_received(
    request: *mut c_void,
    status: raw::ucs_status_t,
    _length: usize,
    user_data: *mut c_void,
) {
    on_done(request, status, user_data);
}

extern "C" fn on_failure(arg: *mut c_void, _ep: raw::ucp_ep_h, status: raw::ucs_status_t) {
    // SAFETY: `arg` is kept until the endpoint is closed; the worker is alive, since it calls.
    unsafe {
        let EpArg { inner, token } = &*arg.cast::<EpArg>();
        (**inner).tell(Event::Failed { token: *token, status: UcsStatus(status) });
    }
}

extern "C" fn on_knock(request: raw::ucp_conn_request_h, arg: *mut c_void) {
    // SAFETY: `arg` is the box of the worker that calls.
    let inner = unsafe { &*arg.cast::<Inner>() };
    inner.tell(Event::Knocked(Knock(request)));
}

extern "C" fn on_message(
    arg: *mut c_void,
    header: *const c_void,
    header_length: usize,
    data: *mut c_void,
    length: usize,
    param: *const raw::ucp_am_recv_param_t,
) -> raw::ucs_status_t {
    // SAFETY: `arg` is the box of the worker that calls.
    let inner = unsafe { &*arg.cast::<Inner>() };
    // SAFETY: UCX's own parameters of this call.
    let rendezvous = unsafe { (*param).recv_attr } & u64::from(raw::UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
    // SAFETY: UCX says how many bytes are there; an empty slice needs a pointer all the same.
    let bytes = |start: *const c_void, len: usize| unsafe {
        if len == 0 { &[][..] } else { std::slice::from_raw_parts(start.cast::<u8>(), len) }
    };
    let body = match NonNull::new(data) {
        Some(raw) if rendezvous => Body::Rendezvous(Desc { raw, len: length }),
        _ => Body::Eager(bytes(data, if rendezvous { 0 } else { length })),
    };
    // SAFETY: as above.
    let from = match unsafe { (*param).recv_attr } & u64::from(raw::UCP_AM_RECV_ATTR_FIELD_REPLY_EP) {
        0 => None,
        // SAFETY: as above.
        _ => Some(Sender(unsafe { (*param).reply_ep } as usize)),
    };
    let arrival = Arrival { from, header: bytes(header, header_length), body };
    // Taken while it works: what it brings about comes after it.
    let free = inner.stash.borrow().is_empty();
    let Some(pointer) = (if free { inner.handler.take() } else { None }) else {
        let (header, kept) = (arrival.header.to_vec(), rendezvous);
        let data = match arrival.body {
            Body::Eager(bytes) => Ok(bytes.to_vec()),
            Body::Rendezvous(desc) => Err(desc),
        };
        inner.stash.borrow_mut().push_back(Stashed { header, data });
        return if kept { raw::UCS_INPROGRESS } else { raw::UCS_OK };
    };
    // SAFETY: set by `progress`, which is still running and does nothing else with it meanwhile.
    let handler = unsafe { &mut *pointer };
    let taken = catch_unwind(AssertUnwindSafe(|| handler(arrival)));
    inner.handler.set(Some(pointer));
    match taken {
        Ok(Taken::Used) => raw::UCS_OK,
        Ok(Taken::Kept) => raw::UCS_INPROGRESS,
        Err(panic) => {
            inner.panic.set(Some(panic));
            raw::UCS_OK
        }
    }
}
