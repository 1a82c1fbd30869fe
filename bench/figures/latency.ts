/**
 * Owns the figure `latency`: request and answer in turn over one connection; how long a forwarder keeps a message. A client of our
 * own: wrk adds requests that it thinks it missed, and so shows how often the machine stood still.
 */
import { fileURLToPath } from 'node:url';
import type { Figure, Trial } from '../figure.js';

export const latency: Figure = {
  name: 'latency',
  title: 'Latency (one connection, one request at a time)',
  protocol: 'TCP',
  needs: ['nginx'],
  metrics: [
    { key: 'p50Us', title: 'p50 us', digits: 0 },
    { key: 'p99Us', title: 'p99 us', digits: 0 },
  ],
  async measure(trial) {
    await pingPong(trial, trial.warmUpS);
    const { p50Us, p99Us } = await pingPong(trial, trial.measureS);
    return { p50Us, p99Us };
  },
};

async function pingPong(trial: Trial, seconds: number): Promise<{ p50Us: number; p99Us: number }> {
  const { host, port } = trial.forwarder.target('http');
  const program = fileURLToPath(new URL('../programs/ping-pong.js', import.meta.url));
  const report = await trial.stage.lab.ns.ext.must(process.execPath, [program, host, String(port), String(seconds)], {
    timeoutMs: seconds * 1_000 + 20_000,
  });
  return JSON.parse(report) as { p50Us: number; p99Us: number };
}
