/** Owns the figure `close`: one HTTP request per connection, 64 clients; what opening and closing costs. */
import { type Figure, microsecondsEach } from '../figure.js';
import { metered } from '../usage.js';
import { wrk } from './wrk.js';

const LOAD = { connections: 64, headers: ['Connection: close'] };

export const close: Figure = {
  name: 'close',
  title: 'Short connections (one HTTP request each, 64 clients)',
  protocol: 'TCP',
  needs: ['wrk', 'nginx'],
  metrics: [
    { key: 'cpuUs', title: 'CPU us/connection', digits: 1 },
    { key: 'systemUs', title: 'whole-system CPU us/connection', digits: 1 },
    { key: 'perS', title: 'connections/s', digits: 0 },
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
