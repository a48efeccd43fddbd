// Generates gen/ from the .proto files: message classes (protobufjs static code), typed service definitions, and the file
// descriptors that server reflection answers from. gen/ is never committed, and made again whenever a source changed.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import "protobufjs/ext/descriptor.js";
import pbjs from "protobufjs-cli/pbjs.js";
import { loadRoot, protoDir, protoFiles, services } from "./load.mjs";

const gen = join(protoDir, "gen");
const scripts = ["scripts/generate.mjs", "scripts/load.mjs"];
const hash = createHash("sha256");
for (const file of [...protoFiles(), ...scripts]) hash.update(file).update(readFileSync(join(protoDir, file)));
const stamp = hash.digest("hex");
const stampFile = join(gen, ".stamp");
if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) process.exit(0);

mkdirSync(gen, { recursive: true });
await promisify(pbjs.main)([
  ...["--target", "static-module", "--wrap", "esm", "--dts", "--force-number", "--no-service", "--no-verify"],
  ...["--no-delimited", "--no-typeurl", "--no-convert", "--root", "zone-agent", "--path", protoDir],
  ...["--out", join(gen, "messages.js"), ...protoFiles().map((file) => join(protoDir, file))],
]);

const messages = join(gen, "messages.js");
writeFileSync(messages, `import "../src/int64.js";\n${readFileSync(messages, "utf8")}`);

const root = loadRoot();
const kinds = { false: { false: "unary", true: "serverStream" }, true: { false: "clientStream", true: "bidi" } };
const path = (type) => type.fullName.slice(1);
const lines = services(root).map((service) => {
  const methods = service.methodsArray.map((method) => {
    const kind = kinds[Boolean(method.requestStream)][Boolean(method.responseStream)];
    const name = method.name[0].toLowerCase() + method.name.slice(1);
    const types = `${path(method.resolvedRequestType)}, ${path(method.resolvedResponseType)}`;
    return `  ${name}: ${kind}("/${path(service)}/${method.name}", ${types}),`;
  });
  const doc = `/** ${path(service)}; its .proto is the specification. */`;
  return `${doc}\nexport const ${service.name}Service = {\n${methods.join("\n")}\n};\n`;
});
const body = lines.join("\n");
const used = (names) => names.filter((name) => new RegExp(`\\b${name}[(.]`).test(body)).join(", ");
writeFileSync(
  join(gen, "services.ts"),
  `// Generated from the .proto files.\nimport { ${used(["google", "zone"])} } from "./messages.js";\n` +
    `import { ${used(["bidi", "clientStream", "serverStream", "unary"])} } from "../src/rpc.js";\n\n${body}`,
);
// One FileDescriptorProto per package.
const files = root.toDescriptor("proto3").file.map((file) => {
  const bytes = file.constructor.encode(file).finish();
  return `  "${Buffer.from(bytes).toString("base64")}",`;
});
writeFileSync(
  join(gen, "descriptors.ts"),
  `// Generated from the .proto files.\n\n/** FileDescriptorProto of each package, in base64, for server reflection. */\n` +
    `export const fileDescriptors: readonly string[] = [\n${files.join("\n")}\n];\n`,
);
writeFileSync(stampFile, stamp);
