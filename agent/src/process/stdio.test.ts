import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

/** Runs the built file, in a process of its own: a limit on descriptors is of a whole process. */
const STDIO = fileURLToPath(new URL("../../dist/process/stdio.js", import.meta.url));

/** Opens a process's stdio with room for 0 to 11 descriptors more; how each went, and what it has gained or lost of them. */
function openWithFew(shape: object): string[] {
  const script = `
    const { openStdio } = await import(${JSON.stringify(STDIO)});
    const { closeSync, openSync, readdirSync } = await import("node:fs");
    const shape = ${JSON.stringify(shape)};
    // Streams close in a later turn of the event loop.
    const settled = async () => { for (let i = 0; i < 5; i++) await new Promise(setImmediate); };
    const held = () => readdirSync("/proc/self/fd").length;
    const warm = openStdio(shape);
    warm.agent.destroy();
    warm.child.close();
    await settled();
    for (let free = 0; free < 12; free++) {
      const before = held();
      const filler = [];
      try { for (;;) filler.push(openSync("/dev/null")); } catch {}
      for (let i = 0; i < free; i++) closeSync(filler.pop());
      let outcome = "opened";
      try {
        const { agent, child } = openStdio(shape);
        try { for (const fd of child.take(0)) closeSync(fd); } catch { child.close(); }
        agent.destroy();
      } catch (error) { outcome = error.code; }
      await settled();
      // EBADF here: somebody has closed one that was not his.
      for (const fd of filler) closeSync(fd);
      process.stdout.write(outcome + " " + (held() - before) + "\\n");
    }`;
  const command = `ulimit -n 60; exec "$0" --input-type=module -e "$1"`;
  const output = execFileSync("sh", ["-c", command, process.execPath, script], { encoding: "utf8" });
  return output.trim().split("\n");
}

for (const shape of [{ stdin: true }, { stdin: false }, { stdin: true, tty: { rows: 24, columns: 80 } }]) {
  it(`leaves no descriptor open, and closes none twice, when there are too few: ${JSON.stringify(shape)}`, () => {
    const outcomes = openWithFew(shape);
    expect(outcomes.length).toBe(12);
    for (const outcome of outcomes) expect(outcome).toMatch(/^(opened|E[A-Z_]+) 0$/);
    expect(outcomes[0]).toBe("EMFILE 0");
    expect(outcomes.at(-1)).toBe("opened 0");
  });
}
