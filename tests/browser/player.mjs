// A child process that plays devices or bots for a server under test.
import { spawn } from "node:child_process";

export function play(binary, options) {
  const child = spawn(binary, options, { stdio: "ignore" });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  return { stop: () => { process.off("exit", kill); kill(); } };
}
