// What the surface suite covers of the agent: every RPC and every field of a request, with a case in which it works and one in which it is
// refused. Says what is missing, and fails; with --write makes docs/coverage.md anew, without it checks that it is as made.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs";
import { loadRoot, protoDir, services } from "../../proto/scripts/load.mjs";
import { exemptions } from "../dist/surface/exemptions.js";
import { rows } from "../dist/surface/rows/index.js";

const page = join(protoDir, "..", "docs", "coverage.md");
const problems = [];
/** @type {Set<string>} */
const usedExemptions = new Set();

/** Whether `what` need not have a case of that kind. */
function isExempt(what, kind) {
  const key = `${what} ${kind}`;
  if (!(key in exemptions)) return false;
  usedExemptions.add(key);
  return true;
}

function snake(name) {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The messages that a request is made of, the request first; not those of google. */
function messagesIn(type, found = new Set()) {
  if (found.has(type) || !type.fullName.startsWith(".zone.")) return found;
  found.add(type);
  for (const field of type.fieldsArray) {
    if (field.resolvedType instanceof protobuf.Type) messagesIn(field.resolvedType, found);
  }
  return found;
}

const lines = [];
const described = new Set();
for (const service of services(loadRoot()).filter(({ fullName }) => fullName.startsWith(".zone.agent."))) {
  lines.push("", `## ${service.fullName.slice(1)}`, "", "| RPC or field | works | refused |", "| --- | --- | --- |");
  for (const method of service.methodsArray) {
    const rpc = `${service.name}.${method.name}`;
    line(rpc, (row) => row.rpc === rpc, `**${rpc}**`);
    for (const message of messagesIn(method.resolvedRequestType)) {
      if (described.has(message.fullName)) continue;
      described.add(message.fullName);
      for (const field of message.fieldsArray) {
        const name = `${message.name}.${snake(field.name)}`;
        line(name, (row) => row.fields.includes(name), name, field.type === "bool");
      }
    }
  }
}

function line(what, belongs, title, isBool = false) {
  const cells = ["works", "refused"].map((kind) => {
    const cases = rows.filter((row) => row.kind === kind && belongs(row));
    if (cases.length > 0) return cases.length === 1 ? cases[0].name : `${cases.length} cases`;
    if (isBool && kind === "refused") return "- (a bool)";
    if (isExempt(what, kind)) return `- (${exemptions[`${what} ${kind}`]})`;
    problems.push(`${what}: no case in which it ${kind === "works" ? "works" : "is refused"}`);
    return "**none**";
  });
  lines.push(`| ${title} | ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`);
}

const known = new Set(lines.map((text) => /^\| \**([\w.]+)/.exec(text)?.[1]));
for (const row of rows) {
  for (const name of [row.rpc, ...row.fields])
    if (!known.has(name)) problems.push(`"${row.name}" names ${name}, which there is not`);
}
for (const key of Object.keys(exemptions))
  if (!usedExemptions.has(key)) problems.push(`the exemption of "${key}" is not needed`);

const text = `# What the surface suite covers

Made by \`npm run coverage\` from the cases that run against a booted zone (test/src/surface). A field that several requests share is
listed once, where it comes first. Where a cell has no case, it says why none can be.
${lines.join("\n")}
`.replace(/\n{3,}/g, "\n\n");

if (process.argv.includes("--write")) writeFileSync(page, text);
else if (readFileSync(page, "utf8") !== text)
  problems.push("docs/coverage.md is not as the cases make it: npm run coverage");
for (const problem of problems) process.stderr.write(`coverage: ${problem}\n`);
if (problems.length > 0) process.exitCode = 1;
