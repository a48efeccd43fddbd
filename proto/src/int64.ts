import protobuf from "protobufjs/minimal.js";

// 64-bit fields are numbers, exact to 2^53: more than any offset, size or time in this API. protobufjs would make them
// objects wherever the package `long` can be found; generated code imports this module before it asks.
protobuf.util.Long = null as unknown as typeof protobuf.util.Long;
protobuf.configure();
