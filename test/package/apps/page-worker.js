import { everything } from "./everything.js";

everything().then(postMessage, (error) => postMessage({ failed: error.stack ?? String(error) }));
