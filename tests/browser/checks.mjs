// Counts checks: a line for each, and the tally at the end.
import { within } from "./wait.mjs";

let passed = 0, failed = 0;

/// Runs one check under a deadline. A failure is told and counted, and the others go on.
export async function check(name, run, ms = 60_000) {
  try {
    await within(ms, name, run());
    passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n      ${String(error?.stack ?? error).replaceAll("\n", "\n      ")}`);
  }
}

export function tell() {
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0;
}
