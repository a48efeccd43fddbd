/** Of <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if.h>, <linux/if_link.h>, <linux/if_addr.h>, <linux/neighbour.h>. */

export const NETLINK_ROUTE = 0;
/** Bit of the group that is told of links, for bind(2). */
export const RTMGRP_LINK = 1;

export const AF = { UNSPEC: 0, INET: 2, INET6: 10 } as const;

export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const;

export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  DUMP_INTR: 0x10,
  /** Of an answer: the request is not repeated in it, but for its header. */
  CAPPED: 0x100,
  /** Of an answer: attributes follow. */
  ACK_TLVS: 0x200,
  /** NLM_F_ROOT | NLM_F_MATCH */
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
} as const;

/** Extended acknowledgement. */
export const NLMSGERR_ATTR = { MSG: 1, OFFS: 2 } as const;

export const RTM = {
  NEWLINK: 16,
  GETLINK: 18,
  SETLINK: 19,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
} as const;

export const IFF = { UP: 0x1, LOOPBACK: 0x8, LOWER_UP: 0x10000 } as const;

export const IFLA = { ADDRESS: 1, IFNAME: 3, MTU: 4, STATS64: 23, MIN_MTU: 50, MAX_MTU: 51 } as const;

export const IFA = { ADDRESS: 1, LOCAL: 2, LABEL: 3, BROADCAST: 4, CACHEINFO: 6, FLAGS: 8 } as const;

export const IFA_F = { NODAD: 0x02, MANAGETEMPADDR: 0x100, NOPREFIXROUTE: 0x200 } as const;

export const RTA = {
  DST: 1,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  MULTIPATH: 9,
  TABLE: 15,
} as const;

export const RT_TABLE_MAIN = 254;
export const RTN_UNICAST = 1;
export const RTPROT = { KERNEL: 2, STATIC: 4 } as const;
export const RT_SCOPE = { UNIVERSE: 0, LINK: 253, HOST: 254, NOWHERE: 255 } as const;
/** A route that the kernel made from another one for one destination. */
export const RTM_F_CLONED = 0x200;

export const NDA = { DST: 1, LLADDR: 2 } as const;
export const NUD_PERMANENT = 0x80;
export const NUD_NOARP = 0x40;
