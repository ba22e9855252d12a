"""A headless Chromium that remembers what it was asked to load and what went wrong."""

import json
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service


class Browser(webdriver.Chrome):
    def __init__(self, chromium: str, driver: str):
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        super().__init__(options, Service(driver))
        self.set_script_timeout(120)

    def wait(self, condition, what: str, seconds: float = 120):
        """What `condition` returns, a piece of JavaScript or a function, as soon as it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := condition() if callable(condition) else self.execute_script(f"return {condition}"):
                return value
            time.sleep(0.1)
        raise AssertionError(f"after {seconds} s still not: {what}")

    def count(self, selector: str) -> int:
        return self.execute_script("return document.querySelectorAll(arguments[0]).length", selector)

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)"
        return self.execute_script(script, selector)

    def complaints(self) -> list[str]:
        """Warnings and errors of the console since the last call."""
        return [entry["message"] for entry in self.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> set[str]:
        """Addresses asked for since the last call, and no data: and blob: ones."""
        messages = [json.loads(entry["message"])["message"] for entry in self.get_log("performance")]
        urls = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
        return {url for url in urls if not url.startswith(("data:", "blob:"))}
