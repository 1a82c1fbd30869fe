/** Owns asking a running process for its status report. Not through `fetch`, which refuses some ports and loads slowly. */
import { get } from 'node:http';
import type { HostPort } from '../config/options.js';
import type { StatusReport } from '../status/report.js';

const TIMEOUT_MS = 5_000;

/** Rejects where nobody answers, or somebody else does. */
export async function fetchReport({ host, port }: HostPort): Promise<StatusReport> {
  const body = await new Promise<string>((resolve, reject) => {
    const request = get({ host, port, path: '/status', agent: false, timeout: TIMEOUT_MS }, (response) => {
      response.setEncoding('utf8');
      let text = '';
      response.on('data', (part: string) => {
        text += part;
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`the answer was ${response.statusCode}, not 200`));
      });
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${TIMEOUT_MS / 1_000} s`)));
    request.on('error', reject);
  });
  return JSON.parse(body) as StatusReport;
}
