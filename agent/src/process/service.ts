import type * as grpc from "@grpc/grpc-js";
import type { Handlers, ProcessService, zone } from "@zone/proto";
import { invalid } from "../errors.js";
import { streamHandler, unaryHandler } from "../handlers.js";
import { Attachment, attachWishes } from "./attachment.js";
import { toProcessInfo } from "./info.js";
import type { ZoneProcess } from "./process.js";
import type { ProcessTable } from "./process-table.js";
import { checkSpec, checkWindowSize } from "./spec.js";
import { listTasks } from "./tasks.js";

type AttachCall = grpc.ServerDuplexStream<zone.agent.v1.AttachRequest, zone.agent.v1.AttachResponse.$Properties>;

/** zone.agent.v1.Process. `admit` throws when the zone takes no work yet. */
export function processService(processes: ProcessTable, admit: () => void): Handlers<typeof ProcessService> {
  const find = (id: string | null | undefined): ZoneProcess => {
    admit();
    return processes.get(id ?? "");
  };
  return {
    start: unaryHandler(async (request) => {
      admit();
      const process = toStart(processes, request);
      try {
        if (request.hold) await processes.prepare(process);
        else await processes.start(process);
      } catch (error) {
        // A failed start leaves nothing to delete; a process that was not CREATED is somebody's, and stays.
        if (process.state.name === "failed" && !process.deleted) processes.delete(process);
        throw error;
      }
      return { process: toProcessInfo(process) };
    }),
    attach: streamHandler((call: AttachCall) => {
      admit();
      return serveAttach(call, processes);
    }),
    signal: unaryHandler(async (request) => {
      const process = find(request.id);
      const signal = request.signal ?? 0;
      if (signal < 1 || signal > 64) throw invalid("INVALID_SIGNAL", `${signal} is not a signal: 1 to 64`);
      await processes.signal(process, signal, request.group ?? false);
      return {};
    }),
    wait: unaryHandler(async (request, cancelled) => {
      const process = find(request.id);
      await process.whenEnded(cancelled);
      return { process: toProcessInfo(process) };
    }),
    list: unaryHandler(async (request) => {
      admit();
      const containerId = request.containerId ?? "";
      const kept = [...processes.all].filter(({ meta }) => containerId === "" || meta.containerId === containerId);
      return { processes: kept.map(toProcessInfo), tasks: await listTasks(taskScope(processes, containerId)) };
    }),
    get: unaryHandler((request) => ({ process: toProcessInfo(find(request.id)) })),
    resizeTty: unaryHandler((request) => {
      find(request.id).resize(checkWindowSize(request.size ?? {}));
      return {};
    }),
    closeStdin: unaryHandler((request) => {
      const process = find(request.id);
      process.stdin?.end();
      return {};
    }),
    delete: unaryHandler((request) => {
      processes.delete(find(request.id));
      return {};
    }),
  };
}

function toStart(processes: ProcessTable, request: zone.agent.v1.StartRequest.$Properties): ZoneProcess {
  if (!request.id) return processes.create(checkSpec(request.spec ?? {}, (id) => processes.isBundle(id)));
  if (request.spec || request.hold) throw invalid("INVALID_ID", "a Start has either an `id` alone, or a `spec`");
  return processes.get(request.id);
}

/** Which processes of the kernel's a list shows: those of the container's pid namespace, none when it does not run. */
function taskScope(processes: ProcessTable, containerId: string): { initPid: number } | "zone" | "none" {
  if (containerId === "") return "zone";
  const init = processes.initOf(containerId)?.state;
  return init?.name === "running" ? { initPid: init.pid } : "none";
}

/** Serves one Attach call; settles when it ends. */
function serveAttach(call: AttachCall, processes: ProcessTable): Promise<void> {
  return new Promise((resolve, reject) => {
    let attachment: Attachment | undefined;
    let over = false;
    const end = (error?: unknown) => {
      if (over) return;
      over = true;
      attachment?.detach();
      call.resume(); // what the client still sends must not hold up its stream
      if (error === undefined) resolve();
      else reject(error);
    };
    call.on("cancelled", () => end());
    call.on("drain", () => attachment?.drained());
    call.on("data", (request: zone.agent.v1.AttachRequest) => {
      if (over) return;
      try {
        if (attachment) attachment.receive(request);
        else attachment = openAttachment(call, processes, request.open ?? undefined, end);
      } catch (error) {
        end(error);
      }
    });
    call.on("end", () => {
      if (!attachment) end(invalid("OPEN_EXPECTED", "the Attach ended before its `open`"));
    });
  });
}

function openAttachment(
  call: AttachCall,
  processes: ProcessTable,
  open: zone.agent.v1.AttachOpen.$Properties | undefined,
  end: (error?: unknown) => void,
): Attachment {
  if (!open) throw invalid("OPEN_EXPECTED", "the first message of an Attach must be `open`");
  const wishes = attachWishes(open);
  const fresh = open.spec ? processes.create(checkSpec(open.spec, (id) => processes.isBundle(id))) : undefined;
  const process = fresh ?? processes.get(open.processId ?? "");
  const sink = {
    write: (message: zone.agent.v1.AttachResponse.$Properties, accepted: () => void) => call.write(message, accepted),
    pause: () => call.pause(),
    resume: () => call.resume(),
  };
  let attachment: Attachment;
  try {
    attachment = new Attachment(process, sink, wishes);
  } catch (error) {
    if (fresh) processes.delete(fresh);
    throw error;
  }
  attachment.onDone = end;
  call.write({ opened: { process: toProcessInfo(process), stdinOffset: process.stdin?.accepted } });
  attachment.begin();
  // The failure of a start reaches this client, and all others, as `failed`.
  if (fresh || (open.start && process.state.name === "created")) processes.start(process).catch(() => {});
  return attachment;
}
