import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { agent, ZoneError } from "@zone/proto";
import { type Command, readCommand } from "./arguments.js";
import { readBundle } from "./bundle.js";
import { type ContainerRecord, Records } from "./record.js";
import { copyRootIn, copyRootOut } from "./root-copy.js";
import { RuntimeError } from "./runtime-error.js";
import { openZone, readSettings, type Zone } from "./zone.js";

type Status = "created" | "running" | "stopped";

/** How long a container that has ended may take to hand over its last output. */
const CARRIER_MS = 20_000;

/** An OCI runtime's command line over the bridge's API. Its containers are made in one zone, of the bundle's own config.json. */
class Runtime {
  readonly #zone: Zone;
  readonly #records: Records;

  constructor(zone: Zone, records: Records) {
    this.#zone = zone;
    this.#records = records;
  }

  /** What the command prints on stdout. */
  async run(command: Command): Promise<string> {
    const { id } = command;
    switch (command.name) {
      case "create":
        await this.#create(command);
        return "";
      case "start":
        await this.#expect(id, "created");
        await this.#zone.process.start({ id }, this.#zone.options);
        return "";
      case "state":
        return `${JSON.stringify(await this.#state(id), undefined, 2)}\n`;
      case "kill":
        await this.#kill(id, command.signal);
        return "";
      case "delete":
        await this.#expect(id, "stopped");
        await this.#remove(id, false);
        this.#records.remove(id);
        return "";
    }
  }

  async #create({ id, bundle: path, pidFile }: Extract<Command, { name: "create" }>): Promise<void> {
    const bundle = readBundle(path);
    const { options, container, process: processes } = this.#zone;
    this.#records.claim(id);
    try {
      const ociConfig = bundle.configFor(`/run/zone/containers/${id}/rootfs`);
      await container.create({ id, rootfs: { empty: true }, ociConfig }, options);
      await copyRootIn(this.#zone, id, bundle.root);
      await processes.start({ spec: { id, containerId: id, init: true }, hold: true }, options);
      // Hooks may have written: who looks for that before the start finds it.
      await copyRootOut(this.#zone, id, bundle.root);
      const carrierPid = await startCarrier(id, bundle.root);
      const { folder, ociVersion, annotations } = bundle;
      this.#records.write({ id, bundle: folder, ociVersion, annotations, carrierPid });
      if (pidFile !== undefined) writeFileSync(pidFile, String(carrierPid));
    } catch (error) {
      await this.#remove(id, true).catch(() => {});
      this.#records.remove(id);
      throw error;
    }
  }

  /** The API knows no signal to a process that was not started: it is given up, which ends what crun has made of it. */
  async #kill(id: string, signal: number): Promise<void> {
    const record = this.#records.read(id);
    const status = await this.#expect(id, "created", "running");
    if (status === "running" || signal !== constants.signals.SIGKILL) {
      await this.#zone.container.kill({ id, signal }, this.#zone.options);
      return;
    }
    await this.#zone.process.delete({ id }, this.#zone.options);
    this.#records.write({ ...record, givenUp: true });
  }

  async #remove(id: string, force: boolean): Promise<void> {
    await this.#zone.container.delete({ id, force }, this.#zone.options);
    await this.#zone.process.delete({ id }, this.#zone.options).catch((error) => {
      if (ZoneError.from(error).reason !== "PROCESS_UNKNOWN") throw error;
    });
  }

  async #state(id: string) {
    const record = this.#records.read(id);
    const { ociVersion, bundle, annotations, carrierPid } = record;
    const status = await this.#status(record);
    return { ociVersion, id, status, ...(status !== "stopped" && { pid: carrierPid }), bundle, annotations };
  }

  async #status({ id, carrierPid, givenUp }: ContainerRecord): Promise<Status> {
    if (givenUp) return "stopped";
    const { process: found } = await this.#zone.process.get({ id }, this.#zone.options);
    switch (found?.state) {
      case agent.ProcessState.PROCESS_STATE_CREATED:
        return "created";
      case agent.ProcessState.PROCESS_STATE_EXITED:
      case agent.ProcessState.PROCESS_STATE_FAILED:
        // Who reads "stopped" may read the output next.
        for (const until = Date.now() + CARRIER_MS; isAlive(carrierPid) && Date.now() < until; )
          await new Promise((resolve) => setTimeout(resolve, 50));
        return "stopped";
      default:
        return "running";
    }
  }

  async #expect(id: string, ...wanted: Status[]): Promise<Status> {
    const status = await this.#status(this.#records.read(id));
    if (!wanted.includes(status)) throw new RuntimeError(`container "${id}" is ${status}, not ${wanted.join(" or ")}`);
    return status;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Starts what carries the output to our own stdout and stderr; its pid, once it is attached. */
async function startCarrier(id: string, root: string): Promise<number> {
  const program = fileURLToPath(new URL("carrier.js", import.meta.url));
  const child: ChildProcess = fork(program, [id, root], {
    detached: true,
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const said = await Promise.race([
    once(child, "message").then(([message]) => String(message)),
    once(child, "exit").then(() => "it ended"),
  ]);
  if (said !== "attached" || child.pid === undefined)
    throw new RuntimeError(`cannot attach to container "${id}": ${said}`);
  if (child.connected) child.disconnect();
  child.unref();
  return child.pid;
}

async function main(): Promise<void> {
  const command = readCommand(process.argv.slice(2));
  const settings = readSettings(process.env);
  const zone = openZone(settings);
  try {
    process.stdout.write(await new Runtime(zone, new Records(settings.state)).run(command));
  } finally {
    zone.close();
  }
}

main().catch((error) => {
  process.stderr.write(`${error instanceof RuntimeError ? error.message : ZoneError.from(error).message}\n`);
  process.exitCode = 1;
});
