import type { zone } from "@zone/proto";
import { invalid } from "../errors.js";

/** Those that containers may share; the network is the zone's always, the others never. */
export const SHARED_NAMESPACES = ["pid", "ipc", "uts"] as const;
export type SharedNamespace = (typeof SHARED_NAMESPACES)[number];

export type NamespaceMode = "private" | "pod" | "container";

/** Whose namespaces a container has. */
export type NamespaceSpec = Record<SharedNamespace, NamespaceMode> & {
  /** Whose they are with "container"; else empty. */
  containerId: string;
};

export const PRIVATE_NAMESPACES: NamespaceSpec = { pid: "private", ipc: "private", uts: "private", containerId: "" };

/** NamespaceMode of container.proto. */
const MODES: readonly NamespaceMode[] = ["private", "private", "pod", "container"];

/** Those of SHARED_NAMESPACES that are of this kind. */
export function namespacesOf(spec: NamespaceSpec, mode: NamespaceMode): SharedNamespace[] {
  return SHARED_NAMESPACES.filter((name) => spec[name] === mode);
}

/** Throws INVALID_NAMESPACE. `id` is the container's own, `hostname` what it asks to be called. */
export function checkNamespaces(
  namespaces: zone.agent.v1.Namespaces.$Properties,
  id: string,
  hostname: string,
): NamespaceSpec {
  const mode = (name: SharedNamespace): NamespaceMode => {
    const chosen = MODES[namespaces[name] ?? 0];
    if (chosen) return chosen;
    throw invalid("INVALID_NAMESPACE", `${name} is ${namespaces[name]}, which is no NamespaceMode`);
  };
  const containerId = namespaces.containerId ?? "";
  const spec = { pid: mode("pid"), ipc: mode("ipc"), uts: mode("uts"), containerId };
  const others = namespacesOf(spec, "container");
  if (others.length > 0 && containerId === "")
    throw invalid("INVALID_NAMESPACE", `${others.join(", ")} of a container, but there is no container_id`);
  if (others.length === 0 && containerId !== "")
    throw invalid("INVALID_NAMESPACE", "there is a container_id, but no namespace is to be that container's");
  if (containerId === id && containerId !== "")
    throw invalid("INVALID_NAMESPACE", "a container cannot have its own namespaces from itself");
  if (spec.uts !== "private" && hostname !== "")
    throw invalid("INVALID_NAMESPACE", "a hostname needs a uts namespace of the container's own");
  return spec;
}
