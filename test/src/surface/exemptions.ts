/** Why an RPC or field has no case of a kind: "Message.field refused" or "Service.Method works". */
export const exemptions: Record<string, string> = {
  "Cgroup.List refused": "there is nothing that could be wrong with it",
  "Resources.cpu_millis refused": "any number of cpus may be asked for",
  "ReadDirectoryRequest.after refused": "any text has a place in the order of names",
  "ReadDirectoryRequest.limit refused": "of more than a page there is a page",
};
