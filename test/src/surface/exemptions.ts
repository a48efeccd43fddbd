/** Why an RPC or field has no case of a kind: "Message.field refused" or "Service.Method works". */
export const exemptions: Record<string, string> = {
  "Cgroup.List refused": "there is nothing that could be wrong with it",
  "Resources.cpu_millis refused": "any number of cpus may be asked for",
  "ReadDirectoryRequest.after refused": "any text has a place in the order of names",
  "ReadDirectoryRequest.limit refused": "of more than a page there is a page",
  "Container.List refused": "there is nothing that could be wrong with it",
  "Process.List refused": "what is not there has no processes; one that is gone may have some that are kept",
  "ListRequest.container_id refused":
    "what is not there has no processes; one that is gone may have some that are kept",
  "System.Info refused": "there is nothing that could be wrong with it",
  "System.Events refused": "there is nothing that could be wrong with it",
  "System.Sync refused": "there is nothing that could be wrong with it",
  "Network.ListLinks refused": "there is nothing that could be wrong with it",
  "Network.ListRoutes refused": "there is nothing that could be wrong with it",
  "Network.ListNeighbours refused": "there is nothing that could be wrong with it",
  "Route.metric refused": "any number is a metric",
  "Neighbour.state works": "told by ListNeighbours; not read in a request",
  "Neighbour.state refused": "told by ListNeighbours; not read in a request",
};
