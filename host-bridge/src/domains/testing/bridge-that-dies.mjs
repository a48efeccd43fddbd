// A bridge of its own process that makes two domains, prints their records and waits to be killed.
// Arguments: the module with the driver, the module with the warm-up; as JSON the driver's options, what the domains have beside
// the usual, and a disk that is plugged into the first.
const [driverModule, linkModule, options, more, disk] = process.argv.slice(2);
const { QemuDriver } = await import(driverModule);
const { warmUpGuest } = await import(linkModule);
const driver = new QemuDriver({ ...JSON.parse(options), warmUp: warmUpGuest });
const signal = new AbortController().signal;
const records = [];
for (const id of ["kept", "stray"]) {
  const config = { id, memoryBytes: 128 * 2 ** 20, vcpus: 1, disks: [], cold: false, ...JSON.parse(more) };
  const domain = await driver.create(config, () => {}, signal);
  await domain.resume();
  if (disk && records.length === 0) await domain.attachDisk(JSON.parse(disk));
  records.push(domain.record);
}
process.stdout.write(`${JSON.stringify(records)}\n`);
setInterval(() => {}, 1000);
