// A bridge of its own process that makes two domains, prints their records and waits to be killed.
// Arguments: the module with the driver, the module with the warm-up, and the driver's options as JSON.
const [driverModule, linkModule, options] = process.argv.slice(2);
const { QemuDriver } = await import(driverModule);
const { warmUpGuest } = await import(linkModule);
const driver = new QemuDriver({ ...JSON.parse(options), warmUp: warmUpGuest });
const signal = new AbortController().signal;
const records = [];
for (const id of ["kept", "stray"]) {
  const config = { id, memoryBytes: 128 * 2 ** 20, vcpus: 1, disks: [], cold: false };
  const domain = await driver.create(config, () => {}, signal);
  await domain.resume();
  records.push(domain.record);
}
process.stdout.write(`${JSON.stringify(records)}\n`);
setInterval(() => {}, 1000);
