import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestBridge } from "./harness/bridge.js";
import { addImage, debianTarball, push } from "./harness/images.js";
import { must } from "./harness/program.js";
import { Registry } from "./harness/registry.js";

/** A Debian made here, pushed to a real registry, and run from there. */
describe("images from a registry", () => {
  const work = mkdtempSync(join(tmpdir(), "zone-registry-"));
  let bridge: TestBridge;
  let registry: Registry;

  /** A layer that adds, changes and removes. */
  async function secondLayer(): Promise<string> {
    const root = join(work, "layer");
    mkdirSync(join(root, "etc"), { recursive: true });
    mkdirSync(join(root, "opt", "app"), { recursive: true });
    mkdirSync(join(root, "usr", "games"), { recursive: true });
    writeFileSync(join(root, "etc", ".wh.debian_version"), "");
    writeFileSync(join(root, "usr", "games", ".wh..wh..opq"), "");
    writeFileSync(join(root, "opt", "app", "hello"), "#!/bin/sh\necho hello from $(id -un) in $(pwd)\n", {
      mode: 0o755,
    });
    const tarball = join(work, "layer.tar");
    await must("tar", ["-C", root, "--owner=0", "--group=0", "-cf", tarball, "."]);
    return tarball;
  }

  beforeAll(async () => {
    bridge = await TestBridge.start();
    registry = await Registry.start(join(work, "registry"));
    const layout = join(work, "layout");
    const cmd = ["--config.cmd", "cat", "--config.cmd", "/etc/os-release"];
    await addImage(layout, "debian", await debianTarball("debian"), cmd);
    await must("umoci", ["tag", "--image", `${layout}:debian`, "app"]);
    await must("umoci", ["raw", "add-layer", "--image", `${layout}:app`, await secondLayer()]);
    await must("umoci", [
      ...["config", "--image", `${layout}:app`, "--clear", "config.cmd", "--config.entrypoint", "/opt/app/hello"],
      ...["--config.user", "games", "--config.workingdir", "/opt/app", "--config.env", "FLAVOUR=sour"],
    ]);
    for (const tag of ["debian", "app"]) await push(registry, layout, tag);
  }, 900_000);

  afterAll(async () => {
    await bridge.close();
    await registry.stop();
    rmSync(work, { recursive: true });
  });

  const image = (tag: string) => `docker://${registry.address}/${tag}:1`;

  test("Debian's own command, and apt in it", async () => {
    const release = await bridge.zonectl(["run", "--rm", image("debian")]);
    expect(release).toMatchObject({ code: 0 });
    expect(release.stdout.toString()).toContain("ID=debian");
    const apt = await bridge.zonectl(["run", "--rm", image("debian"), "apt-get", "--version"]);
    expect(apt.stdout.toString()).toMatch(/^apt 2\./);
  });

  test("user, working directory, entrypoint and environment of the image", async () => {
    const hello = await bridge.zonectl(["run", "--rm", image("app")]);
    expect(hello.stdout.toString()).toBe("hello from games in /opt/app\n");
    const env = await bridge.zonectl(["run", "--rm", "--entrypoint", "sh", image("app"), "-c", "echo $FLAVOUR; id -u"]);
    expect(env.stdout.toString()).toBe("sour\n5\n");
  });

  test("whiteouts of the upper layer", async () => {
    const look = "ls /etc/debian_version /usr/games; ls -a /etc /usr/games | grep -c wh";
    const { stdout, stderr } = await bridge.zonectl(["run", "--rm", "--entrypoint", "sh", image("app"), "-c", look]);
    expect(stderr).toContain("/etc/debian_version");
    expect(stdout.toString().trim().split("\n").at(-1)).toBe("0");
  });

  test("setuid, owners and hard links are Debian's own", async () => {
    const look = "stat -c '%a %U' /usr/bin/passwd /usr/bin/su; stat -c %h /usr/bin/perl5.36.0 /usr/bin/perl";
    const { stdout } = await bridge.zonectl(["run", "--rm", image("debian"), "sh", "-c", look]);
    expect(stdout.toString()).toBe("4755 root\n4755 root\n2\n2\n");
  });

  test("an unknown tag is said to be unknown", async () => {
    const { code, stderr } = await bridge.zonectl(["run", "--rm", `docker://${registry.address}/debian:no-such-tag`]);
    expect(code).toBe(125);
    expect(stderr).toMatch(/^zonectl: [^\n]*no-such-tag[^\n]*\n$/);
  });
});
