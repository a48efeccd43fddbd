import { execFileSync } from "node:child_process";
import { setImmediate } from "node:timers/promises";
import { ZoneError, type zone } from "@zone/proto";
import { RunningAgent } from "../../testing/running-agent.js";

/** An agent with a network and host name of its own: unshare(1). Needs root and, for `ip`, iproute2. */
export class OwnNetwork {
  readonly agent: RunningAgent;

  private constructor(agent: RunningAgent) {
    this.agent = agent;
  }

  static async start(env: Record<string, string> = {}, parameters = ""): Promise<OwnNetwork> {
    return new OwnNetwork(await RunningAgent.start(parameters, env, ["unshare", "--net", "--uts"]));
  }

  /** ip(8) in the agent's network; its output. */
  ip(...args: string[]): string {
    return this.run("ip", ...args);
  }

  run(...command: string[]): string {
    const inside = ["--target", String(this.agent.initPid), "--net", "--uts", "--", ...command];
    return execFileSync("nsenter", inside, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }

  /** A cable with two ends. */
  addPair(one: string, other: string, hardwareAddress?: string): void {
    const address = hardwareAddress ? ["address", hardwareAddress] : [];
    this.ip("link", "add", one, ...address, "type", "veth", "peer", "name", other);
    this.ip("link", "set", other, "up");
  }

  /** All that Configure can change, in ip(8)'s words, without what the kernel counts. */
  state(): string {
    const kept = (text: string) =>
      text
        .split("\n")
        .map((line) => line.replace(/(?:valid_lft|preferred_lft|qdisc) \S+/g, "").trimEnd())
        .filter((line) => line !== "" && !line.includes("fe80::"))
        .sort()
        .join("\n");
    return [["addr"], ["-4", "route"], ["-6", "route"]].map((args) => kept(this.ip(...args))).join("\n");
  }

  async link(name: string): Promise<zone.agent.v1.Link.$Properties> {
    const { links } = await this.agent.network.listLinks({});
    const link = links?.find((one) => one.name === name);
    if (!link) throw new Error(`there is no link ${name}`);
    return link;
  }

  /** The addresses of a link but for those that the kernel makes of its hardware address. */
  async addresses(name: string): Promise<string[]> {
    return ((await this.link(name)).addresses ?? []).filter((address) => !address.startsWith("fe80:")).sort();
  }

  /** Routes that somebody made, as "DESTINATION via GATEWAY dev LINK metric METRIC src SOURCE". */
  async routes(): Promise<string[]> {
    const { routes } = await this.agent.network.listRoutes({});
    return (routes ?? [])
      .filter(({ gateway, metric }) => gateway !== "" || metric === 77)
      .map(({ destination, gateway, link, metric, source }) =>
        [
          destination,
          gateway && `via ${gateway}`,
          `dev ${link}`,
          metric && `metric ${metric}`,
          source && `src ${source}`,
        ]
          .filter((part) => part)
          .join(" "),
      )
      .sort();
  }
}

/** What of a ZoneError tests look at. */
export interface Failure {
  code: string;
  reason: string;
  message: string;
  metadata: Record<string, string>;
}

/** The error that a call rejects with. */
export async function failureOf(call: Promise<unknown>): Promise<Failure> {
  try {
    await call;
  } catch (error) {
    const { code, reason, message, metadata } = ZoneError.from(error);
    return { code, reason, message, metadata };
  }
  throw new Error("no error");
}

/** Settles when `condition` holds. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setImmediate();
}
