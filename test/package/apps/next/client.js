"use client";

import { createElement, useEffect, useRef } from "react";
import { everything } from "./everything.js";
import { render } from "./server.js";

export function Client() {
  const element = useRef(null);
  useEffect(() => {
    // Not imported above: the module listens to the page's events, and the server has no page.
    import("./post.js").then(({ post }) =>
      post(async () => ({ ...(await everything()), server: document.querySelector("#rendered").textContent, client: element.current.textContent })),
    );
  }, []);
  return createElement("p", { ref: element }, render());
}
