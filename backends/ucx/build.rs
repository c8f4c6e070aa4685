//! Makes the bindings of `src/sys.rs` from the headers of the UCX that pkg-config finds. Nothing is linked: the library is
//! loaded when a device is opened.

use std::env;
use std::path::PathBuf;

/// The oldest UCX whose active messages and error handling are enough.
const OLDEST: &str = "1.12";

/// Every function that is called: a library without one of them is refused when it is loaded.
const FUNCTIONS: [&str; 44] = [
    "ucp_am_data_release",
    "ucp_am_recv_data_nbx",
    "ucp_am_send_nbx",
    "ucp_atomic_op_nbx",
    "ucp_cleanup",
    "ucp_config_modify",
    "ucp_config_read",
    "ucp_config_release",
    "ucp_conn_request_query",
    "ucp_context_query",
    "ucp_ep_close_nbx",
    "ucp_ep_create",
    "ucp_ep_flush_nbx",
    "ucp_ep_print_info",
    "ucp_ep_rkey_unpack",
    "ucp_get_nbx",
    "ucp_get_version",
    "ucp_get_version_string",
    "ucp_init_version",
    "ucp_listener_create",
    "ucp_listener_destroy",
    "ucp_listener_query",
    "ucp_listener_reject",
    "ucp_mem_map",
    "ucp_mem_query",
    "ucp_mem_unmap",
    "ucp_put_nbx",
    "ucp_request_check_status",
    "ucp_request_free",
    "ucp_rkey_buffer_release",
    "ucp_rkey_destroy",
    "ucp_rkey_pack",
    "ucp_rkey_ptr",
    "ucp_worker_arm",
    "ucp_worker_create",
    "ucp_worker_destroy",
    "ucp_worker_fence",
    "ucp_worker_get_efd",
    "ucp_worker_progress",
    "ucp_worker_query",
    "ucp_worker_release_address",
    "ucp_worker_set_am_recv_handler",
    "ucs_global_opts_set_value",
    "ucs_status_string",
];

fn main() {
    println!("cargo:rerun-if-changed=src/wrapper.h");
    let found = pkg_config::Config::new().atleast_version(OLDEST).cargo_metadata(false).probe("ucx");
    let ucx = match found {
        Ok(ucx) => ucx,
        Err(error) => panic!(
            "the headers of UCX {OLDEST} or newer are needed for the `ucx` feature: `apt install libucx-dev pkg-config`, or \
             point PKG_CONFIG_PATH at the folder of another ucx.pc\n{error}"
        ),
    };
    let include = ucx.include_paths.iter().map(|path| format!("-I{}", path.display()));
    let bindings = bindgen::Builder::default()
        .header("src/wrapper.h")
        .clang_args(include)
        .allowlist_function(FUNCTIONS.join("|"))
        .allowlist_type("ucp_.*|ucs_.*")
        .allowlist_var("UCP_.*|UCS_.*")
        // Statuses and masks are numbers in Rust: C may answer with one that no enum has.
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .dynamic_library_name("Functions")
        .dynamic_link_require_all(true)
        .layout_tests(false)
        .generate_comments(false)
        .derive_debug(false)
        .generate()
        .unwrap_or_else(|error| panic!("no bindings of UCX's headers: {error}"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("bindings.rs");
    bindings.write_to_file(out).expect("OUT_DIR can be written");
}
