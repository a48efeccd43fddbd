/** Of this bridge; the package's. */
export const BRIDGE_VERSION = "0.1.0";
