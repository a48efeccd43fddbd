import { describe, expect, it } from "vitest";
import { hasDefault4, hasDefault6, networkFacts, ownAddress, passtArgs } from "./network.js";

describe("passtArgs", () => {
  const args = passtArgs({ routes: { four: true, six: true }, uid: 1234 });
  const after = (option: string) => args[args.indexOf(option) + 1];

  it("lets nothing in, and nothing reach the host by its gateway", () => {
    expect([after("--tcp-ports"), after("--udp-ports")]).toEqual(["none", "none"]);
    expect(args).toContain("--no-map-gw");
    expect(after("--runas")).toBe("1234:1234");
  });

  it("carries only the families that the host has", () => {
    expect(args).not.toContain("--ipv4-only");
    expect(passtArgs({ routes: { four: true, six: false }, uid: undefined })).toContain("--ipv4-only");
    const six = passtArgs({ routes: { four: false, six: true }, uid: undefined });
    expect(six).toContain("--ipv6-only");
    expect(six).not.toContain("10.0.2.15");
    expect(networkFacts({ four: false, six: true }).addresses).toEqual(["fd00:7a6f:6e65::15/64"]);
  });

  it("knows a guest by its IPv4 address where it has one", () => {
    expect(ownAddress(networkFacts({ four: true, six: true }))).toBe("10.0.2.15");
    expect(ownAddress(networkFacts({ four: false, six: true }))).toBe("fd00:7a6f:6e65::15");
  });
});

describe("default routes", () => {
  it("are found in what the kernel writes", () => {
    expect(hasDefault4(["Iface\tDestination\tGateway", "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0"])).toBe(
      true,
    );
    expect(hasDefault4(["eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0", ""])).toBe(false);
    const zeros = "0".repeat(32);
    const via = (device: string) => `${zeros} 00 ${zeros} 00 ${zeros} 00000400 00000003 00000000 00000003 ${device}`;
    expect(hasDefault6([via("    eth0")])).toBe(true);
    expect(hasDefault6([via("      lo"), ""])).toBe(false);
  });
});
