export { type BridgeParts, type RunningBridge, startBridge } from "./bridge.js";
export type * from "./domains/driver.js";
export type * from "./images/image-store.js";
