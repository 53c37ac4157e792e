// Hands a report, or what went wrong, to the server that the page came from: a page under a strict policy cannot be asked from outside.

const problems = [];
addEventListener("error", (event) => send({ failed: `error: ${event.message ?? "a resource did not load"}` }));
addEventListener("unhandledrejection", (event) => send({ failed: `unhandled rejection: ${event.reason?.stack ?? event.reason}` }));
addEventListener("securitypolicyviolation", (event) => problems.push(`${event.effectiveDirective} forbids ${event.blockedURI || "inline code"}`));

function evalAllowed() {
  try {
    return new Function("return true")();
  } catch {
    return false;
  }
}

function send(report) {
  return fetch("/report", { method: "POST", body: JSON.stringify(report) });
}

/** Waits for the report and sends it. */
export async function post(report) {
  // Before the question whether eval is allowed, which is a violation itself where it is not.
  const about = { isolated: crossOriginIsolated, violations: [...problems] };
  try {
    const body = await report();
    about.violations = [...problems];
    await send({ ...body, ...about, evalAllowed: evalAllowed() });
  } catch (error) {
    await send({ failed: error.stack ?? String(error) });
  }
}
