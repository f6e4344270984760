// Log in to Airflow and read the morning page inside its frame, in light and in dark.
// usage: PASSWORD=... node morning_page.mjs BASE_URL OUT_FOLDER [TEXT ...]
// Prints one JSON line: the page's text, the address a click leads to, what was refused.
import path from 'path';
import { chromium } from 'playwright-core';

const [, , base, out, ...texts] = process.argv;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-proxy-server',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const seen = { refused: [], console: [] };

async function visit(colorScheme) {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 1000 }, locale: 'en-US', timezoneId: 'UTC', colorScheme,
  });
  const page = await context.newPage();
  page.on('response', (r) => { if (r.status() >= 400) seen.refused.push(`${r.status()} ${r.url()}`); });
  page.on('console', (m) => { if (m.type() === 'error') seen.console.push(m.text()); });
  await page.goto(`${base}/`, { waitUntil: 'domcontentloaded' });
  await page.locator('input[name="username"]').waitFor({ timeout: 90000 });
  await page.fill('input[name="username"]', process.env.LOGIN || 'admin');
  await page.fill('input[name="password"]', process.env.PASSWORD);
  await page.locator('button[type="submit"], button:has-text("Sign in")').first().click();
  await page.waitForURL((u) => !u.pathname.includes('login'), { timeout: 90000 });
  seen.refused.length = 0;
  await page.goto(`${base}/plugin/morning`, { waitUntil: 'domcontentloaded' });
  const frame = page.frameLocator('iframe[title="Morning"]');
  await frame.locator('#verdict').waitFor({ timeout: 90000 });
  for (const text of texts) {
    await frame.getByText(text).first().waitFor({ timeout: 30000 });
  }
  await page.screenshot({ path: path.join(out, `morning_${colorScheme}.png`) });
  return { page, frame };
}

const { page, frame } = await visit('light');
seen.text = await frame.locator('main').innerText();
seen.theme = await frame.locator('html').getAttribute('data-theme');
const link = frame.locator('#jobs a').first();
if (await link.count()) {
  await link.click();
  await page.waitForURL((u) => u.pathname.startsWith('/dags/'), { timeout: 60000 });
  seen.landed = new URL(page.url()).pathname;
  await page.getByText('Runs').first().waitFor({ timeout: 60000 });
  await page.screenshot({ path: path.join(out, 'dag.png') });
}
const dark = await visit('dark');
seen.dark = await dark.frame.locator('html').getAttribute('data-theme');
console.log(JSON.stringify(seen));
await browser.close();
