/** Owns the figure `keep`: HTTP requests over 64 connections that stay open; what relaying a small message costs. */
import { type Figure, microsecondsEach } from '../figure.js';
import { metered } from '../usage.js';
import { wrk } from './wrk.js';

const LOAD = { connections: 64 };

export const keep: Figure = {
  name: 'keep',
  title: 'Small messages (HTTP keep-alive, 64 connections)',
  protocol: 'TCP',
  needs: ['wrk', 'nginx'],
  metrics: [
    { key: 'cpuUs', title: 'CPU us/request', digits: 1 },
    { key: 'systemUs', title: 'whole-system CPU us/request', digits: 1 },
    { key: 'perS', title: 'requests/s', digits: 0 },
  ],
  async measure(trial) {
    await wrk(trial, LOAD, trial.warmUpS);
    const { result, processCpuS, systemCpuS } = await metered(trial.forwarder.pid, () =>
      wrk(trial, LOAD, trial.measureS),
    );
    return {
      cpuUs: microsecondsEach(processCpuS, result.requests),
      systemUs: microsecondsEach(systemCpuS, result.requests),
      perS: result.requestsPerS,
    };
  },
};
