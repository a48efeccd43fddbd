import { closeFd } from "@zone/native";

/** open(2); Node does not name it. */
export const O_PATH = 0o10000000;

/** Uses a descriptor and closes it. */
export function withFd<T>(fd: number, use: (fd: number) => T): T {
  try {
    return use(fd);
  } finally {
    closeFd(fd);
  }
}

/** A device's number, makedev(3) in glibc's layout: 12 and 20 bits of each part, in two pieces. */
export function deviceNumber(device: number | bigint): { major: number; minor: number } {
  const number = BigInt(device);
  return {
    major: Number(((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xffff_f000n)),
    minor: Number((number & 0xffn) | ((number >> 12n) & 0xffff_ff00n)),
  };
}
