/**
 * The kernel command line that the bridge starts from; it appends what is a zone's own (zone.link=...). Each option with
 * its reason. Measured on QEMU without KVM; docs/image.md has the numbers and what was tried and left out.
 */
export const BOOT_OPTIONS: readonly { option: string; why: string }[] = [
  {
    option: "console=ttyS0",
    why: "panics and PID 1's messages go to the serial port, which works from the first line on",
  },
  { option: "quiet", why: "every line costs the time of its characters on that port; warnings still appear" },
  { option: "panic=-1", why: "reboots at once on a panic, which ends a QEMU that was started with -no-reboot" },
  {
    why: "interrupts need no routing by ACPI's interpreter (0.1 s without KVM): virtio has MSI-X",
  },
  { option: "cryptomgr.notests", why: "skips the self-tests of the kernel's ciphers: 0.2 to 0.3 s without KVM" },
  {
    option: "no_timer_check",
    why: "the check of the timer interrupt fails, and panics, when a loaded host stalls the zone",
  },
  {
    option: "tsc=reliable",
    why: "no watchdog that distrusts the clock for good after a pause, a clone or a busy host",
  },
  {
    option: "lsm=landlock",
    why: "no AppArmor, TOMOYO and integrity hooks on each system call: the zone has no policies for them",
  },
];

/** BOOT_OPTIONS as the kernel reads them. */
export const COMMAND_LINE = BOOT_OPTIONS.map(({ option }) => option).join(" ");
