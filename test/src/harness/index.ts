export { inZone, repository, TestBridge } from "./bridge.js";
export { argv, type ExecOutcome, exec } from "./exec.js";
export { must, type Outcome, runProgram } from "./program.js";
