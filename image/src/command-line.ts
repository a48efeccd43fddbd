/** An option of the kernel's command line (Documentation/admin-guide/kernel-parameters.txt), and why zones have it. */
export interface BootOption {
  option: string;
  why: string;
}

/**
 * What the bridge starts from; it appends what is a zone's own (zone.link=...). Measured on QEMU without KVM; docs/image.md
 * has the numbers, and what was tried and left out.
 */
export const BOOT_OPTIONS: readonly BootOption[] = [
  {
    option: "console=ttyS0",
    why: "panics and PID 1's messages go to the serial port, which works from the first line on",
  },
  { option: "quiet", why: "every line costs the time of its characters on that port; warnings still appear" },
  { option: "panic=-1", why: "reboots at once on a panic, which ends a QEMU that was started with -no-reboot" },
  { option: "cryptomgr.notests", why: "skips the self-tests of the kernel's ciphers: 0.2 to 0.3 s without KVM" },
  {
    option: "no_timer_check",
    why: "that check fails, and panics, when a busy host stalls the zone at the wrong moment",
  },
];

/** BOOT_OPTIONS as the kernel reads them. */
export const COMMAND_LINE = BOOT_OPTIONS.map(({ option }) => option).join(" ");
