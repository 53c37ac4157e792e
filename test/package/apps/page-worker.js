import { everything } from "./everything.js";

onmessage = ({ data }) => everything(data).then(postMessage, (error) => postMessage({ failed: error.stack ?? String(error) }));
