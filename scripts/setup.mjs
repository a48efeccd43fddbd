// npm run setup
import { script } from "./lib/run.mjs";
import { setup } from "./lib/setup.mjs";

script(() => setup());
