export { EmulatedPort } from "./emulated-port.js";
export { type Faults, FaultyDuplex } from "./faulty-duplex.js";
