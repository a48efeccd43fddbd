/** A kernel module that zones need, and why. Its dependencies come along by themselves. */
export interface WantedModule {
  /** As modprobe(8) knows it, with underscores. */
  name: string;
  why: string;
}

/**
 * Loaded by PID 1 before anything else, in this order. Every one costs each boot a few milliseconds and each zone its
 * memory, so only what the first seconds of every zone need is here.
 */
export const BOOT_MODULES: readonly WantedModule[] = [
  { name: "virtio_pci", why: "the bus of all virtio devices" },
  { name: "pvpanic_pci", why: "tells the hypervisor of a panic, so that one is not mistaken for a power-off" },
  { name: "virtio_console", why: "the virtio-serial port that the link to the bridge runs over" },
  { name: "vmw_vsock_virtio_transport", why: "AF_VSOCK, for links over vsock" },
  { name: "virtio_rng", why: "fresh randomness from the host, which a cloned zone needs" },
  { name: "virtio_blk", why: "the disks: the zone's root, and the workload's image" },
  { name: "erofs", why: "the file system of those disks" },
  { name: "overlay", why: "the writable layer over a workload's image" },
  { name: "virtio_net", why: "the network interface, which must be there before a template is cloned" },
  { name: "virtio_balloon", why: "gives unused memory back to the host, and takes some when a zone is to shrink" },
];

/** In the root file system, below /lib/modules, for loading when they are first wanted. */
export const LATER_MODULES: readonly WantedModule[] = [
  { name: "virtio_mem", why: "grows and shrinks the zone's memory" },
  { name: "xfs", why: "volumes that are xfs" },
  { name: "virtiofs", why: "folders shared by the host" },
  { name: "squashfs", why: "workload images that are squashfs" },
  { name: "loop", why: "disk images inside of file systems" },
];
