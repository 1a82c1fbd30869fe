/** Owns the figure `bulk`: one connection as fast as it goes; what a byte costs. */
import type { Figure, Trial } from '../figure.js';
import { metered } from '../usage.js';

export const bulk: Figure = {
  name: 'bulk',
  title: 'Bulk (one connection, client to pod, as fast as it goes)',
  protocol: 'TCP',
  needs: ['iperf3'],
  metrics: [
    { key: 'cpuPerGB', title: 'CPU s/GB', digits: 3 },
    { key: 'systemPerGB', title: 'whole-system CPU s/GB', digits: 3 },
    { key: 'gbitPerS', title: 'Gbit/s', digits: 2 },
  ],
  async measure(trial) {
    await iperf(trial, trial.warmUpS);
    const { result, processCpuS, systemCpuS } = await metered(trial.forwarder.pid, () => iperf(trial, trial.measureS));
    const gigabytes = result.bytes / 1e9;
    return {
      cpuPerGB: processCpuS === undefined ? undefined : processCpuS / gigabytes,
      systemPerGB: systemCpuS / gigabytes,
      gbitPerS: result.bitsPerS / 1e9,
    };
  },
};

async function iperf(trial: Trial, seconds: number): Promise<{ bytes: number; bitsPerS: number }> {
  const { host, port } = trial.forwarder.target('bulk');
  const args = ['-c', host, '-p', String(port), '-t', String(Math.max(1, Math.round(seconds))), '-J'];
  const report = await trial.stage.lab.ns.ext.must('iperf3', args, { timeoutMs: seconds * 1_000 + 20_000 });
  return parseIperf(report);
}

interface IperfReport {
  readonly end?: { readonly sum_received?: { readonly bytes?: number; readonly bits_per_second?: number } };
}

/** What the server received: what the client sent may still stand in somebody's buffer. */
export function parseIperf(report: string): { bytes: number; bitsPerS: number } {
  const received = (JSON.parse(report) as IperfReport).end?.sum_received;
  const { bytes = 0, bits_per_second: bitsPerS = 0 } = received ?? {};
  if (bytes <= 0) throw new Error(`iperf3 moved nothing: ${report.slice(0, 400)}`);
  return { bytes, bitsPerS };
}
