//! Which kernel modules a module needs, in the order in which they are loaded.

/// The modules and all they need, as paths from the modules' folder, dependencies first. `modules_dep` is what depmod
/// wrote; a name it does not list is built into the kernel and needs no loading.
pub(crate) fn in_order<'a>(modules_dep: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let mut order: Vec<&str> = Vec::new();
    for name in wanted {
        let Some((path, needs)) =
            modules_dep.lines().filter_map(|l| l.split_once(':')).find(|(p, _)| stem(p) == *name)
        else {
            continue;
        };
        // depmod lists the nearest dependency first, each followed by its own.
        for path in needs.split_whitespace().rev().chain([path]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    order
}

/// `kernel/net/9p/9pnet.ko.xz` is `9pnet`; dashes and underscores mean the same.
pub(crate) fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz\n\
                       kernel/net/9p/9pnet.ko.xz:\n\
                       kernel/net/9p/9pnet-virtio.ko.xz: kernel/net/9p/9pnet.ko.xz\n\
                       kernel/fs/netfs/netfs.ko.xz:\n";

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let order: Vec<String> = in_order(DEP, &["9p", "9pnet_virtio"]).into_iter().map(stem).collect();
        assert_eq!(order, ["netfs", "9pnet", "9p", "9pnet_virtio"]);
    }

    #[test]
    fn what_is_built_into_the_kernel_is_not_loaded() {
        assert!(in_order(DEP, &["virtio_pci"]).is_empty());
    }
}
