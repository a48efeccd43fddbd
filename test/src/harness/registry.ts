import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";

/** A real registry: Debian's docker-registry on loopback, storing in a folder. */
export class Registry {
  private constructor(
    readonly address: string,
    private readonly process: ChildProcess,
  ) {}

  static async start(folder: string): Promise<Registry> {
    mkdirSync(folder, { recursive: true });
    const port = await freePort();
    const address = `127.0.0.1:${port}`;
    const config = {
      version: "0.1",
      log: { level: "error" },
      storage: { filesystem: { rootdirectory: join(folder, "data") } },
      http: { addr: address },
    };
    // JSON is YAML.
    writeFileSync(join(folder, "config.yml"), JSON.stringify(config));
    const child = spawn("docker-registry", ["serve", join(folder, "config.yml")], { stdio: "ignore" });
    const registry = new Registry(address, child);
    while (!(await accepts(port))) {
      if (child.exitCode !== null) throw new Error(`docker-registry ended with ${child.exitCode}`);
    }
    return registry;
  }

  async stop(): Promise<void> {
    const exited = once(this.process, "exit");
    this.process.kill();
    await exited;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => setTimeout(() => resolve(false), 50));
  });
}
