/**
 * Owns the benchmark of the control plane: how long many Services take to be served, what that costs, and how fast and at
 * what cost a change arrives. Needs root; runs in namespaces of its own.
 *
 *   for each size: API server with N Services -> start kproxy-us -> ready -> changes -> table
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Child } from '../../spec/support/lab/child.js';
import { createLab, type Lab } from '../../spec/support/lab/lab.js';
import { missing } from '../../spec/support/requires.js';
import { until } from '../../spec/support/until.js';
import { median } from '../table.js';
import { processCpuS, residentKB } from '../usage.js';
import type { Load, Outcome, Settings } from './cluster.js';

const PROGRAM = fileURLToPath(new URL('../../bin/kproxy-us.js', import.meta.url));
const CLUSTER = fileURLToPath(new URL('./cluster.js', import.meta.url));
const ENDPOINTS = 10;

interface Row {
  readonly services: number;
  readonly minSyncPeriod: string;
  /** From the start of the process. */
  readonly readyS: number;
  readonly readyCpuS: number;
  readonly readyMB: number;
  readonly changes: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMsPerChange: number;
  readonly afterMB: number;
}

async function measure(lab: Lab, dir: string, services: number, minSyncPeriod: string, load: Load): Promise<Row> {
  const { node } = lab.ns;
  const settings: Settings = {
    services,
    endpoints: ENDPOINTS,
    kubeconfig: join(dir, `kubeconfig-${services}-${minSyncPeriod}`),
    backends: [node.address.IPv4, lab.gateway.IPv4],
  };
  const cluster = node.spawn(process.execPath, [CLUSTER, JSON.stringify(settings)]);
  await cluster.waitFor('ready\n', 60_000);
  const startMs = performance.now();
  const proxy = node.spawn(process.execPath, [
    PROGRAM,
    'run',
    `--kubeconfig=${settings.kubeconfig}`,
    '--hostname-override=node',
    `--iptables-min-sync-period=${minSyncPeriod}`,
  ]);
  await proxy.waitFor(/ ready /, 300_000);
  const readyS = (performance.now() - startMs) / 1_000;
  const pid = await programPid(proxy);
  const readyCpuS = await processCpuS(pid);
  await assertRedirected(lab, services);
  const readyMB = (await residentKB(pid)) / 1_024;
  const cpuBeforeS = await processCpuS(pid);
  cluster.write(`${JSON.stringify(load)}\n`);
  await cluster.waitFor(/"latenciesMs".*\n/, (load.seconds + 60) * 1_000);
  const { changes, latenciesMs } = JSON.parse(
    cluster.stdout.split('\n').find((line) => line.startsWith('{')) ?? '',
  ) as Outcome;
  const cpuMsPerChange = (((await processCpuS(pid)) - cpuBeforeS) * 1_000) / changes;
  const afterMB = (await residentKB(pid)) / 1_024;
  await stop(proxy, cluster);
  await node.must(process.execPath, [PROGRAM, 'cleanup']);
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  const p99Ms = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? Number.NaN;
  const p50Ms = median(latenciesMs) ?? Number.NaN;
  return { services, minSyncPeriod, readyS, readyCpuS, readyMB, changes, p50Ms, p99Ms, cpuMsPerChange, afterMB };
}

/** `ip netns exec` becomes the program: the pid is the same. */
async function programPid({ pid }: Child): Promise<number> {
  await until('the program to run', async () => (await residentKB(pid)) > 30_000);
  return pid;
}

async function assertRedirected(lab: Lab, services: number): Promise<void> {
  const rules = await lab.ns.node.must('iptables-save', ['-t', 'nat']);
  const found = rules.split('\n').filter((line) => line.includes('-j DNAT')).length;
  if (found !== services) throw new Error(`${found} of ${services} cluster IPs are redirected`);
}

async function stop(...children: readonly Child[]): Promise<void> {
  for (const child of children) await child.stop('SIGTERM', 10_000);
}

function table(rows: readonly Row[]): string {
  const head = [
    'Services',
    'min sync period',
    'ready s',
    'CPU s',
    'MB at ready',
    'changes',
    'p50 ms',
    'p99 ms',
    'CPU ms/change',
    'MB after',
  ];
  const cells = rows.map((row) => [
    String(row.services),
    row.minSyncPeriod,
    row.readyS.toFixed(2),
    row.readyCpuS.toFixed(2),
    row.readyMB.toFixed(0),
    String(row.changes),
    row.p50Ms.toFixed(1),
    row.p99Ms.toFixed(1),
    row.cpuMsPerChange.toFixed(2),
    row.afterMB.toFixed(0),
  ]);
  const line = (all: readonly string[]) => `| ${all.join(' | ')} |`;
  return [line(head), line(head.map(() => '---:')), ...cells.map(line)].join('\n');
}

async function main(): Promise<void> {
  const unmet = missing(['root', 'ip', 'iptables', 'setpriv', 'openssl']);
  if (unmet !== undefined) throw new Error(`the benchmark cannot run: ${unmet}`);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));
  const quick = process.argv.includes('--quick');
  const sizes = process.argv.includes('--largest') ? [5_000] : [100, 1_000, 5_000];
  const dir = await mkdtemp(join(tmpdir(), 'kproxy-us-bench-'));
  const lab = await createLab();
  const rows: Row[] = [];
  try {
    const load: Load = { perSecond: 200, seconds: quick ? 5 : 30, sampleEvery: 20 };
    for (const services of sizes) {
      for (const minSyncPeriod of ['1s', '0s']) {
        rows.push(await measure(lab, dir, services, minSyncPeriod, load));
        process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`);
      }
    }
  } finally {
    await lab.close();
    await rm(dir, { recursive: true, force: true });
  }
  process.stdout.write(`${table(rows)}\n`);
}

await main();
