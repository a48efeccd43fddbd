import { describe, expect, it } from "vitest";
import { EndWitness, type Remains } from "./domain-end.js";

const remains: Remains = { exit: { code: 0, signal: null }, console: Buffer.from(""), vmmLog: "" };
const shutdown = (reason: string) => ({ name: "SHUTDOWN", data: { guest: true, reason } });

function endAfter(steps: (witness: EndWitness) => void, more: Partial<Remains> = {}) {
  const witness = new EndWitness();
  steps(witness);
  return witness.end({ ...remains, ...more });
}

describe("EndWitness", () => {
  it("tells a power-off, also when it was being destroyed meanwhile", () => {
    expect(endAfter((w) => w.event(shutdown("guest-shutdown")))).toEqual({ cause: "powered-off" });
    const both = endAfter((w) => {
      w.event(shutdown("guest-shutdown"));
      w.destroying();
      w.event(shutdown("host-qmp-quit"));
    });
    expect(both).toEqual({ cause: "powered-off" });
  });

  it("tells a panic with its reason", () => {
    const console = Buffer.from(
      "[ 2.9] Kernel panic - not syncing: Attempted to kill init!\r\nCPU: 0\r\nKernel Offset: 0\r\n",
    );
    expect(endAfter((w) => w.event(shutdown("guest-reset")), { console })).toMatchObject({
      message: "its kernel panicked or reset the machine: Kernel panic - not syncing: Attempted to kill init!",
    });
  });

  it("tells a panic without a known reason with the console's last lines, cleaned", () => {
    const console = Buffer.from("old\r\n\u001b[31mpanic: \u0000Attempted to kill init!\r\n---[ end ]---\r\n");
    expect(endAfter((w) => w.event({ name: "GUEST_PANICKED", data: {} }), { console })).toEqual({
      cause: "panicked",
      message: "its kernel panicked: old | [31mpanic: Attempted to kill init! | ---[ end ]---",
    });
    expect(endAfter((w) => w.event(shutdown("guest-panic")))).toMatchObject({ cause: "panicked" });
  });

  it("takes a reset for a panic", () => {
    expect(endAfter((w) => w.event(shutdown("guest-reset")))).toEqual({
      cause: "panicked",
      message: "its kernel panicked or reset the machine; its console is empty",
    });
  });

  it("tells its own destruction", () => {
    const end = endAfter((w) => {
      w.destroying();
      w.event(shutdown("host-qmp-quit"));
    });
    expect(end).toEqual({ cause: "destroyed" });
  });

  it.each([
    [{ exit: { code: null, signal: "SIGKILL" as const } }, "the VMM ended by SIGKILL"],
    [
      { exit: { code: 1, signal: null }, vmmLog: "qemu: out of luck" },
      "the VMM ended with status 1: qemu: out of luck",
    ],
    [{ exit: undefined }, "the VMM ended without a word"],
  ])("calls everything else lost: %o", (more, message) => {
    expect(endAfter(() => {}, more)).toEqual({ cause: "lost", message });
    expect(endAfter((w) => w.event(shutdown("host-signal")), more)).toEqual({ cause: "lost", message });
  });
});
