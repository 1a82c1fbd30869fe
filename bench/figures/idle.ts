/** Owns the figure `idle`: thousands of connections that say nothing; what each keeps of the forwarder's memory. */
import { fileURLToPath } from 'node:url';
import { until } from '../../spec/support/until.js';
import type { Figure, Trial } from '../figure.js';
import { residentKB } from '../usage.js';

/** Connections of the warm-up: they fill caches and pools that every process has, whatever its load. */
const WARM_UP = 500;
const SETTLE_MS = 1_000;

export const idle: Figure = {
  name: 'idle',
  title: 'Idle connections',
  protocol: 'TCP',
  needs: ['nginx', 'ss'],
  metrics: [
    { key: 'kbEach', title: 'KB of process memory each', digits: 2 },
    { key: 'emptyMB', title: 'MB without any', digits: 1 },
  ],
  ofProcess: true,
  async measure(trial) {
    const { pid } = trial.forwarder;
    if (pid === undefined) return {};
    await hold(trial, WARM_UP, async () => undefined);
    const emptyKB = await residentKB(pid);
    const fullKB = await hold(trial, trial.idleConnections, () => residentKB(pid));
    return { kbEach: (fullKB - emptyKB) / trial.idleConnections, emptyMB: emptyKB / 1_000 };
  },
};

/** Runs `look` while so many connections are established all the way to the pods; returns when they are gone again. */
async function hold<T>(trial: Trial, connections: number, look: () => Promise<T>): Promise<T> {
  const { ext } = trial.stage.lab.ns;
  const { host, port } = trial.forwarder.target('http');
  const program = fileURLToPath(new URL('../programs/hold.js', import.meta.url));
  const holder = ext.spawn(process.execPath, [program, host, String(port), String(connections)]);
  try {
    await holder.waitFor('holding', 60_000);
    await until(
      `${connections} connections in the pods`,
      async () => (await established(trial)) >= connections,
      30_000,
    );
    await settle();
    return await look();
  } finally {
    holder.end();
    await holder.stop('SIGTERM', 5_000);
    await until('the connections to be gone', async () => (await established(trial)) === 0, 30_000);
    await settle();
  }
}

async function established(trial: Trial): Promise<number> {
  const [backend] = trial.stage.routes.http.backends;
  const { pod1, pod2 } = trial.stage.lab.ns;
  const filter = ['state', 'established', 'sport', '=', `:${backend?.port ?? 0}`];
  const lists = await Promise.all([pod1, pod2].map((pod) => pod.must('ss', ['-Htn', ...filter])));
  return lists.reduce((sum, list) => sum + list.split('\n').filter((line) => line !== '').length, 0);
}

/** Gives a garbage collector the time it has in life; no event tells its end. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}
