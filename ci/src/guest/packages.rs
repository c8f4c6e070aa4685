//! What the guest and the features verbs and ucx are made of: Debian packages, downloaded and unpacked, never installed.

/// Raised when unpacking itself changes, so that everybody's cache is made anew.
const UNPACKING: u32 = 1;

/// What is asked of apt; it adds what these need.
pub(crate) const WANTED: &[&str] = &[
    // the machine and its kernel; the cloud flavour of it has neither rxe nor 9p
    "qemu-system-x86",
    "linux-image-6.12-amd64",
    "busybox-static",
    "kmod",
    // what runs in the guest
    "libibverbs1",
    "ibverbs-providers",
    "ibverbs-utils",
    "librdmacm1",
    "rdmacm-utils",
    "perftest",
    "iproute2",
    "procps",
    "libucx0",
    "ucx-utils",
    // what the features verbs and ucx are built with; bindgen 0.59 knows no later libclang than 14
    "libibverbs-dev",
    "librdmacm-dev",
    "libucx-dev",
    "libclang-14-dev",
    "pkgconf",
];

/// What siw.ko is built from: Debian's kernel comes without it. Only what is named here, not what it needs.
pub(crate) const KERNEL_SOURCE: &[&str] = &["linux-source-6.12", "linux-headers-6.12-amd64"];

/// Beginnings of names of packages that are needed by those above and still left out, with a reason for each group.
const LEFT_OUT: &[&str] = &[
    // Every Debian has them, and a program runs only with the loader and the libc that belong together.
    "libc6",
    "libgcc-s1",
    "libcrypt",
    // A machine with Rust has a C linker, and with it these.
    "libc-dev-bin",
    "linux-libc-dev",
    "libgcc-12-dev",
    "libstdc++-12-dev",
    "libobjc",
    "libasan",
    "liblsan",
    "libtsan",
    "libubsan",
    "libitm",
    "libquadmath",
    "libgc1",
    "rpcsvc-proto",
    "libtirpc",
    "libnsl",
    // Of the base system every Debian has, or for installing a kernel, which nobody does here.
    "adduser",
    "coreutils",
    "cpio",
    "debconf",
    "dpkg",
    "gcc-12-base",
    "init-system-helpers",
    "initramfs-tools",
    "iso-codes",
    "klibc-utils",
    "libklibc",
    "libpam",
    "libperl",
    "libsemanage",
    "linux-base",
    "logsave",
    "passwd",
    "perl",
    "tar",
    "udev",
    "usrmerge",
];

/// Whether a package of the closure is downloaded.
pub(crate) fn is_taken(package: &str) -> bool {
    !LEFT_OUT.iter().any(|l| package.starts_with(l))
}

/// Whether a package is among those siw.ko is built from: the source, the headers and the kernel's build programs.
pub(crate) fn is_kernel_source(package: &str) -> bool {
    ["linux-source-", "linux-headers-", "linux-kbuild-"].iter().any(|p| package.starts_with(p))
}

/// What an unpacked tree is made by. Another one makes another tree.
pub(crate) fn recipe() -> String {
    let lines = [&format!("unpacking {UNPACKING}")[..]];
    let groups = [("want", WANTED), ("source", KERNEL_SOURCE), ("leave", LEFT_OUT)];
    let listed = groups.iter().flat_map(|(word, list)| list.iter().map(move |p| format!("{word} {p}")));
    lines.into_iter().map(String::from).chain(listed).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_wanted_is_left_out() {
        assert_eq!(WANTED.iter().find(|w| !is_taken(w)), None);
    }

    #[test]
    fn the_machines_own_libc_is_left_alone() {
        for package in ["libc6", "libc6-dev", "perl-modules-5.36"] {
            assert!(!is_taken(package), "{package}");
        }
        assert!(is_taken("libcapstone4") && is_taken("libstdc++6"));
    }

    #[test]
    fn the_recipe_names_every_package() {
        let recipe = recipe();
        for package in WANTED.iter().chain(KERNEL_SOURCE).chain(LEFT_OUT) {
            assert!(recipe.lines().any(|l| l.ends_with(&format!(" {package}"))), "{package}");
        }
    }

    #[test]
    fn the_compiler_that_comes_with_the_headers_is_not_kernel_source() {
        assert!(is_kernel_source("linux-kbuild-6.12.117+deb12"));
        assert!(!is_kernel_source("gcc-12") && !is_kernel_source("linux-image-6.12.117+deb12-amd64"));
    }
}
