import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { onTestFinished } from "vitest";

/** Starts Debian's docker-registry on a loopback port, for the time of the test; answers with HOST:PORT. */
export async function startRegistry(directory: string, extra = ""): Promise<string> {
  const address = `127.0.0.1:${await freePort()}`;
  const config = join(directory, "registry.yml");
  const storage = join(directory, "registry");
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${storage}}}\nhttp: {addr: ${address}}\n${extra}`,
  );
  const child = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  onTestFinished(() => void child.kill());
  for (;;) {
    try {
      await fetch(`http://${address}/v2/`);
      return address;
    } catch (error) {
      if (child.exitCode !== null) throw new Error("docker-registry ended", { cause: error });
      await setTimeout(20);
    }
  }
}

/** A loopback port that nobody listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
