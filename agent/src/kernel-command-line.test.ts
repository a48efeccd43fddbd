import fc from "fast-check";
import { expect, it } from "vitest";
import { parseKernelCommandLine } from "./kernel-command-line.js";

it("finds the agent's parameters among others", () => {
  expect(
    parseKernelCommandLine(
      "console=hvc0 zone.link=serial:zone.link zone.template=1 ro zone.image=1=2 zone.link=vsock:5\n",
    ),
  ).toEqual({
    links: ["serial:zone.link", "vsock:5"],
    template: true,
    imageVersion: "1=2",
  });
  expect(parseKernelCommandLine("zone.template=0 zone.template")).toMatchObject({ links: [], template: false });
});

it("takes any text", () => {
  fc.assert(fc.property(fc.string(), (text) => void parseKernelCommandLine(text)));
});
