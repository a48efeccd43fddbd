export { SharedWork } from "../shared-work.js";
