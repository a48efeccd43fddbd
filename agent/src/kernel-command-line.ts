/** The agent's parameters on the kernel command line; unknown ones are others'. */
export interface KernelParameters {
  /** zone.link, each time it is given: where to serve, as link's parseAgentAddress reads it. */
  links: string[];
  /** zone.template=1: the zone was booted to be cloned. */
  template: boolean;
  /** zone.image */
  imageVersion: string;
}

/** Reads the parameters from the text of /proc/cmdline; Documentation/admin-guide/kernel-parameters.rst. */
export function parseKernelCommandLine(text: string): KernelParameters {
  const parameters: KernelParameters = { links: [], template: false, imageVersion: "" };
  for (const word of text.split(/\s+/)) {
    const equals = word.indexOf("=");
    const value = word.slice(equals + 1);
    switch (equals < 0 ? word : word.slice(0, equals)) {
      case "zone.link":
        parameters.links.push(value);
        break;
      case "zone.template":
        parameters.template = value === "1";
        break;
      case "zone.image":
        parameters.imageVersion = value;
        break;
      default:
    }
  }
  return parameters;
}
