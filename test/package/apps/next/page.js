// Rendered by the server while the site is built; the part in client.js also is, and once more by the client.
import { createElement } from "react";
import { Client } from "./client.js";
import { render } from "./server.js";

export default function Page() {
  return createElement("main", null, createElement("p", { id: "rendered" }, render()), createElement(Client));
}
