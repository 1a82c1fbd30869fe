/** Owns the figure `dns`: UDP queries from 16 sockets, 64 in flight; what a datagram and its answer cost. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Figure, microsecondsEach, type Trial } from '../figure.js';
import { DNS_NAME } from '../stage.js';
import { metered } from '../usage.js';

export const dns: Figure = {
  name: 'dns',
  title: 'DNS over UDP (16 clients, 64 queries in flight)',
  protocol: 'UDP',
  needs: ['dnsperf', 'dnsmasq'],
  metrics: [
    { key: 'cpuUs', title: 'CPU us/query', digits: 1 },
    { key: 'systemUs', title: 'whole-system CPU us/query', digits: 1 },
    { key: 'perS', title: 'queries/s', digits: 0 },
    { key: 'lostPercent', title: 'lost %', digits: 2 },
  ],
  async measure(trial) {
    const queries = join(trial.stage.dir, 'queries');
    await writeFile(queries, `${DNS_NAME} A\n`);
    await dnsperf(trial, queries, trial.warmUpS);
    const { result, processCpuS, systemCpuS } = await metered(trial.forwarder.pid, () =>
      dnsperf(trial, queries, trial.measureS),
    );
    return {
      cpuUs: microsecondsEach(processCpuS, result.completed),
      systemUs: microsecondsEach(systemCpuS, result.completed),
      perS: result.perS,
      lostPercent: (100 * result.lost) / (result.completed + result.lost),
    };
  },
};

async function dnsperf(trial: Trial, queries: string, seconds: number): Promise<DnsReport> {
  const { host, port } = trial.forwarder.target('dns');
  const where = ['-s', host, '-p', String(port), '-d', queries];
  const load = ['-c', '16', '-T', '1', '-q', '64', '-t', '1', '-l', String(Math.max(1, Math.round(seconds)))];
  const report = await trial.stage.lab.ns.ext.must('dnsperf', [...where, ...load], {
    timeoutMs: seconds * 1_000 + 20_000,
  });
  return parseDnsperf(report);
}

export interface DnsReport {
  readonly completed: number;
  readonly lost: number;
  readonly perS: number;
}

export function parseDnsperf(report: string): DnsReport {
  const number = (label: string) => Number(new RegExp(`${label}:\\s+([\\d.]+)`).exec(report)?.[1]);
  const completed = number('Queries completed');
  const lost = number('Queries lost');
  const perS = number('Queries per second');
  if (!(completed > 0) || Number.isNaN(lost + perS)) throw new Error(`dnsperf printed: ${report}`);
  return { completed, lost, perS };
}
