/** Owns the figure `latency`: request and answer in turn over one connection; how long a forwarder keeps a message. */
import type { Figure } from '../figure.js';
import { wrk } from './wrk.js';

const LOAD = { connections: 1 };

export const latency: Figure = {
  name: 'latency',
  title: 'Latency (one connection, one request at a time)',
  protocol: 'TCP',
  needs: ['wrk', 'nginx'],
  metrics: [
    { key: 'p50Us', title: 'p50 us', digits: 0 },
    { key: 'p99Us', title: 'p99 us', digits: 0 },
  ],
  async measure(trial) {
    await wrk(trial, LOAD, trial.warmUpS);
    const { p50Us, p99Us } = await wrk(trial, LOAD, trial.measureS);
    return { p50Us, p99Us };
  },
};
